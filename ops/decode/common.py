"""What the decoders of detectors share: ports, thresholds, and the way from model pixels to records of the source frame."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from devices.engine import PixelInput
from devices.spec import RecordsSpec, Spec, Specs, TensorSpec, TensorsSpec
from ops.contract import Context, Operator, SpecError, port
from ops.value import Affine, Records

Fraction = Annotated[float, Field(ge=0, le=1)]
Capacity = Annotated[int, Field(ge=1, le=1024)]


class DetectionDecoder(Operator):
    """Base of the decoders of detectors.

    Boxes come out in pixels of the upright source frame, in no order, and are not clipped to the frame: a box of something half out of
    view reaches past the edge, as the model drew it. What is not finite is left out.
    """

    inputs = {"tensors": port("tensors", doc="all outputs of the model")}
    outputs = {"detections": port("detections", doc="boxes in pixels of the source frame, not clipped to it")}
    needs_model = True
    labels: tuple[str, ...] = ()
    """Class names when the model has none."""
    points = 0
    """Key points of each detection."""

    class Config(Operator.Config):
        """`score`: detections below are left out. `capacity`: the most detections of a frame; the best are kept."""

        score: Fraction = 0.5
        capacity: Capacity = 256

    @property
    def spec(self) -> RecordsSpec:
        """What comes out."""
        labels = (self.model.labels if self.model else ()) or self.labels
        return RecordsSpec("detections", self.config.capacity, labels, self.points)

    @property
    def pixels(self) -> PixelInput:
        """What the model's pixels are. Raises SpecError for a model without an image input."""
        if self.model is None or self.model.input is None:
            got = f"model {self.model.name} without one" if self.model else "no model"
            raise SpecError(
                port="model", expected="a model with an `input` section", got=got, hint="describe its pixels in the Model manifest"
            )
        return self.model.input

    def infer(self, specs: Specs) -> dict[str, Spec]:
        self.check(tensors(specs["tensors"], "tensors"))
        return {"detections": self.spec}

    def check(self, outputs: TensorsSpec) -> None:
        """Raises SpecError when these are not the outputs of such a model."""
        raise TypeError(f"{type(self).__name__} must define check")

    def open(self, context: Context) -> None:
        super().open(context)
        self._dtype = self.spec.dtype

    def emit(
        self, transform: Affine, boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray | int, points: np.ndarray | None = None
    ) -> Records:
        """Records of boxes (n, 4) and points (n, k, 2) in model pixels, at most `capacity`, the best where there are more."""
        boxes = boxes_to_source(transform, boxes)
        kept: np.ndarray | slice = slice(None)
        finite = np.isfinite(boxes).all(1)
        if not finite.all():
            kept = np.flatnonzero(finite)
        if len(boxes) > self.config.capacity:
            order = np.argsort(-scores, kind="stable")
            kept = order[finite[order]][: self.config.capacity]
        records = np.empty(len(boxes[kept]), self._dtype)
        records["box"] = boxes[kept]
        records["score"] = scores[kept]
        records["class_id"] = class_ids if isinstance(class_ids, int) else class_ids[kept]
        records["track"] = -1
        if points is not None:
            records["points"] = points[kept].astype(np.float64) @ transform[:, :2].T + transform[:, 2]
        return records

    def nothing(self) -> Records:
        """No detections."""
        return np.empty(0, self._dtype)


def tensors(spec: Spec, port: str) -> TensorsSpec:
    """The spec as tensors'. Raises SpecError naming `port`."""
    if isinstance(spec, TensorsSpec):
        return spec
    raise SpecError(port=port, expected="tensors", got=str(spec))


def only(spec: TensorsSpec, what: str) -> TensorSpec:
    """The only tensor. Raises SpecError saying `what` was expected when there are none or several."""
    if len(spec.tensors) != 1:
        raise SpecError(port="tensors", expected=f"one tensor, {what}", got=str(spec))
    return spec.tensors[0][1]


def check_labels(classes: int, labels: tuple[str, ...], what: str) -> None:
    """Raises SpecError when the model names another number of classes than it has."""
    if labels and len(labels) != classes:
        raise SpecError(port="tensors", expected=f"{len(labels)} classes, as many as the model has labels", got=f"{classes} in {what}")


def grid(width: int, height: int, stride: int) -> np.ndarray:
    """Cells (x, y) of a feature map, row by row: float32 (cells, 2)."""
    ys, xs = np.mgrid[: height // stride, : width // stride]
    return np.stack([xs, ys], -1).reshape(-1, 2).astype(np.float32)


def boxes_to_source(transform: Affine, boxes: np.ndarray) -> np.ndarray:
    """Upright boxes float64 (n, 4) around (n, 4) boxes mapped by `transform`; exact where it only scales, moves or turns by 90°."""
    a, b, tx = transform[0]
    c, d, ty = transform[1]
    if b == 0 and c == 0 and a > 0 and d > 0:
        return np.asarray(boxes * np.array((a, d, a, d)) + np.array((tx, ty, tx, ty)))
    corners: Any = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2).astype(np.float64)
    corners = corners @ transform[:, :2].T + transform[:, 2]
    return np.concatenate([corners.min(1), corners.max(1)], 1)
