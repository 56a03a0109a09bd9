"""Detections by class, score, size and place."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from devices.engine import ModelInfo
from devices.spec import Spec, Specs
from ops.boxes.geometry import Anchor, anchors, areas, inside
from ops.contract import Operator, port, records
from ops.labels import Chosen
from ops.value import Frame, Records

Point = tuple[float, float]


class Filter(Operator):
    """Keeps the detections that meet every condition, in their order. Raises SpecError for a class that the detections do not have."""

    op = "boxes.filter"
    inputs = {"detections": port("detections")}
    outputs = {"detections": port("detections", doc="those that meet every condition")}

    class Config(Operator.Config):
        """`classes`: names of the classes kept (empty: all). `score`: the least score. `min_area`, `max_area`: in square pixels of the
        source frame. `zone`: a polygon in pixels of the source frame that must hold the anchor of the box. `anchor`: the middle of its
        lower edge (bottom), its center, or the middle of its upper edge (top)."""

        classes: frozenset[str] = frozenset()
        score: Annotated[float, Field(ge=0, le=1)] = 0.0
        min_area: Annotated[float, Field(ge=0)] = 0.0
        max_area: Annotated[float, Field(ge=0)] | None = None
        zone: Annotated[tuple[Point, ...], Field(min_length=3, max_length=256)] | None = None
        anchor: Anchor = "bottom"

    def __init__(self, config: Any = None, model: ModelInfo | None = None) -> None:
        super().__init__(config, model)
        self._classes = Chosen(self.config.classes)
        self._zone = None if self.config.zone is None else np.array(self.config.zone)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        spec = records(specs["detections"], "detections", "detections")
        self._classes.learn(spec, "detections")
        return {"detections": spec}

    def run(self, frame: Frame, *, detections: Records) -> Records:
        detections = self._classes.of(detections)
        area = areas(detections["box"].astype(np.float64))
        good = (detections["score"] >= self.config.score) & (area >= self.config.min_area)
        if self.config.max_area is not None:
            good &= area <= self.config.max_area
        if self._zone is not None:
            good &= inside(anchors(detections["box"], self.config.anchor), self._zone)
        return np.asarray(detections[good])
