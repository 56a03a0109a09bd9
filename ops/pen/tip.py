"""The tip of a pen over paper, by threshold and shape."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from devices.spec import RecordsSpec, Spec, Specs
from ops.contract import Context, Operator, images, port
from ops.value import Frame, Image, Records, apply


class Tip(Operator):
    """Finds the tip of something dark that reaches over something light: a pen over paper or a whiteboard.

    The largest dark component of at least `min_area` is the pen (a hand that holds it, if dark, is part of it); its tip is the outermost
    point where `tip` says. No such component: no record. The score is the contrast between pen and ground, 0..1. Where more than pen and
    paper is in view (a desk, dark ink), name a `threshold` between the pen and the rest.
    """

    op = "pen.tip"
    inputs = {"image": port("image", formats=("gray8",))}
    outputs = {"points": port("points", doc="the tip, or nothing")}

    class Config(Operator.Config):
        """`threshold`: grey level (0..255) below which a pixel is pen, or auto (Otsu's method, doi:10.1109/TSMC.1979.4310076). `min_area`:
        least size of the pen as a part of the picture. `max_area`: what is larger is no pen. `tip`: the end that writes (left, right, top,
        bottom; far-from-border: the point farthest from where the pen enters the picture; pointed: the narrower end of a free pen).
        `contrast`: least difference of pen and ground, 0..1. `width`: pixels across that are looked at."""

        threshold: Annotated[float, Field(ge=0, le=255)] | Literal["auto"] = "auto"
        min_area: Annotated[float, Field(gt=0, le=1)] = 0.001
        max_area: Annotated[float, Field(gt=0, le=1)] = 0.5
        tip: Literal["left", "right", "top", "bottom", "far-from-border", "pointed"] = "far-from-border"
        contrast: Annotated[float, Field(ge=0, le=1)] = 0.15
        width: Annotated[int, Field(ge=16, le=8192)] = 640

    _dtype = RecordsSpec("points", 1).dtype

    def infer(self, specs: Specs) -> dict[str, Spec]:
        images(specs["image"], "image")
        return {"points": RecordsSpec("points", 1, ("tip",))}

    def open(self, context: Context) -> None:
        import cv2  # noqa: F401  loaded before the first frame

        super().open(context)

    def run(self, frame: Frame, *, image: Image) -> Records:
        import cv2

        gray = image.planes[0]
        width = min(self.config.width, image.spec.width)
        height = max(1, round(image.spec.height * width / image.spec.width))
        if width != image.spec.width:
            gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        dark = self._dark(gray)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
        areas = np.where(stats[:, 4] <= self.config.max_area * gray.size, stats[:, 4], 0)
        areas[0] = 0  # the ground
        pen = int(areas.argmax())
        if areas[pen] < self.config.min_area * gray.size:
            return np.empty(0, self._dtype)
        x, y, w, h = (int(value) for value in stats[pen, :4])
        shape = labels[y : y + h, x : x + w] == pen
        inner = gray[y : y + h, x : x + w]
        ground = float(gray[dark == 0].mean()) if (dark == 0).any() else 0.0
        contrast = max(0.0, ground - float(inner[shape].mean())) / 255
        if contrast < self.config.contrast:
            return np.empty(0, self._dtype)
        rows, columns = np.nonzero(shape)
        pixels = np.stack([columns + x, rows + y], 1) + 0.5
        points = apply(image.transform, pixels * (image.spec.width / width, image.spec.height / height))
        to_border = np.minimum(pixels, np.array((width, height)) - pixels).min(1)
        entry = points[to_border <= to_border.min() + 1].mean(0)
        reach = _reach(self.config.tip, points, entry)
        found = np.empty(1, self._dtype)
        found["point"] = points[reach >= reach.max() - 0.5].mean(0)  # the middle of those that are equally far out
        found["score"] = contrast
        return found

    def _dark(self, gray: np.ndarray) -> np.ndarray:
        import cv2

        if self.config.threshold == "auto":
            return np.asarray(cv2.threshold(gray, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1])
        return np.asarray(gray < self.config.threshold, np.uint8)


def _reach(tip: str, points: np.ndarray, entry: np.ndarray) -> np.ndarray:
    """How far out each of the pen's points (n, 2) is in the direction that the tip has; the pen enters the picture at `entry`."""
    match tip:
        case "left":
            return -points[:, 0]
        case "right":
            return points[:, 0]
        case "top":
            return -points[:, 1]
        case "bottom":
            return points[:, 1]
        case "pointed":
            return _towards_narrow_end(points)
        case _:
            return np.asarray(np.hypot(*(points - entry).T))


def _towards_narrow_end(points: np.ndarray) -> np.ndarray:
    """How far each of the pen's pixels (n, 2) lies along its long axis, towards the end whose outer sixth is narrower."""
    offsets = points - points.mean(0)
    _, axes = np.linalg.eigh(offsets.T @ offsets)
    across, along = (offsets @ axes).T
    sixth = np.ptp(along) / 6
    first, last = (float(np.ptp(across[end])) for end in (along < along.min() + sixth, along > along.max() - sixth))
    return np.asarray(along if last < first else -along)
