"""Greedy non-maximum suppression."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from devices.engine import ModelInfo
from devices.spec import RecordsSpec, Spec, Specs
from ops.boxes.geometry import overlaps
from ops.contract import Operator, port, records
from ops.labels import Chosen
from ops.value import Frame, Records


class Nms(Operator):
    """Keeps the best detections of those that overlap.

    Takes them best first (the earlier one where scores are equal) and leaves out what overlaps a kept one by more than `iou`. What
    comes out is a part of what came in, best first; running it again changes nothing. Raises SpecError for a class that the detections
    do not have.
    """

    op = "boxes.nms"
    inputs = {"detections": port("detections", doc="in any order")}
    outputs = {"detections": port("detections", doc="best first, no two overlapping by more than `iou`")}

    class Config(Operator.Config):
        """`iou`: overlap allowed, 0..1. `per_class`: only boxes of one class suppress each other. `classes`: names of the classes kept
        (empty: all); others suppress nothing. `max`: the most detections kept."""

        iou: Annotated[float, Field(ge=0, le=1)] = 0.45
        per_class: bool = True
        classes: frozenset[str] = frozenset()
        max: Annotated[int, Field(ge=1, le=1024)] = 100

    def __init__(self, config: Any = None, model: ModelInfo | None = None) -> None:
        super().__init__(config, model)
        self._classes = Chosen(self.config.classes)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        spec = records(specs["detections"], "detections", "detections")
        self._classes.learn(spec, "detections")
        return {"detections": RecordsSpec("detections", min(spec.capacity, self.config.max), spec.labels, spec.points)}

    def run(self, frame: Frame, *, detections: Records) -> Records:
        detections = self._classes.of(detections)
        if len(detections) > 1:
            detections = detections[np.argsort(-detections["score"], kind="stable")]
            detections = detections[suppress(detections, self.config.iou, self.config.per_class)]
        return detections[: self.config.max]


def suppress(detections: Records, iou: float, per_class: bool) -> np.ndarray:
    """Which of these detections, best first, are kept: bool (n,)."""
    shadows = overlaps(detections["box"], detections["box"]) > iou
    if per_class:
        shadows &= detections["class_id"][:, None] == detections["class_id"]
    rows = np.packbits(shadows, axis=1, bitorder="little")  # a row as one integer: the loop below is on plain ints
    suppressed, kept = 0, np.zeros(len(detections), bool)
    for index in range(len(detections)):
        if not suppressed >> index & 1:
            kept[index] = True
            suppressed |= int.from_bytes(rows[index].tobytes(), "little")
    return kept
