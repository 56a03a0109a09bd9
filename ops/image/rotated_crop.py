from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from devices.spec import Spec, Specs
from ops.contract import Operator, SpecError, images, lifted, port, records
from ops.image.boxes import cut
from ops.image.rendering import OUTPUTS, Level, Rendering, RenderingConfig, Side
from ops.value import Affine, Frame, Image, Many, Tensors


class RotatedCrop(Operator):
    """One upright crop for each detection, turned by the line between two of its key points.

    The defaults are the palm-to-hand rectangle of MediaPipe (mediapipe/calculators/util: DetectionsToRects, RectTransformation): the
    line from the wrist (point 0) to the middle finger (point 2) shall point up (90 degrees); the box is moved by half its height along
    that line, made square by its long side and enlarged 2.6 times.
    """

    op = "image.rotated_crop"
    inputs = {"image": port("image"), "detections": port("detections", doc="boxes with key points")}
    outputs = OUTPUTS

    class Config(RenderingConfig):
        """`start`, `end`: key points of the line; `angle`: degrees, anticlockwise from the x axis, that it shall have in the crop.

        `shift`: in units of the box (x, y) along its turned axes, before `square` (its longer or shorter side, or none) and `scale`.
        Pixels outside the picture are the nearest one or `pad`. `capacity` bounds the crops of one frame, best scores first.
        """

        width: Side = 224
        height: Side = 224
        start: Annotated[int, Field(ge=0)] = 0
        end: Annotated[int, Field(ge=0)] = 2
        angle: float = 90.0
        scale: Annotated[float, Field(gt=0, le=100)] = 2.6
        shift: tuple[float, float] = (0.0, -0.5)
        square: Literal["long", "short", "none"] = "long"
        outside: Literal["nearest", "pad"] = "nearest"
        pad: Level = 0.0
        capacity: Annotated[int, Field(ge=1, le=256)] = 4

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        images(specs["image"], "image")
        detections = records(specs["detections"], "detections", "detections")
        needed = max(self.config.start, self.config.end) + 1
        if detections.points < needed:
            raise SpecError(
                port="detections", expected=f"detections with at least {needed} key points", got=f"{detections.points} key points"
            )
        return {self._rendering.port: lifted(self._rendering.spec((self.config.width, self.config.height)), self.config.capacity)}

    def run(self, frame: Frame, *, image: Image, detections: np.ndarray) -> Mapping[str, Many]:
        from devices.kernels.image import Placement

        placement = Placement(None, self.config.pad, self.config.outside)

        def render(matrix: Affine, index: int) -> Mapping[str, Image | Tensors]:
            return self._rendering.moving(self.context, image, (self.config.width, self.config.height), matrix, placement, index)

        return cut(detections, self.config.capacity, self._rendering.port, self._turned, render)

    def _turned(self, detection: Any) -> Affine | None:
        config = self.config
        left, top, right, bottom = (float(v) for v in detection["box"])
        (x0, y0), (x1, y1) = (map(float, detection["points"][i]) for i in (config.start, config.end))
        width, height = right - left, bottom - top
        if not (math.isfinite(left + top + right + bottom + x0 + y0 + x1 + y1) and width > 0 and height > 0):
            return None
        turn = math.radians(config.angle) - math.atan2(y0 - y1, x1 - x0)
        cos, sin = math.cos(turn), math.sin(turn)
        x = (left + right) / 2 + width * config.shift[0] * cos - height * config.shift[1] * sin
        y = (top + bottom) / 2 + width * config.shift[0] * sin + height * config.shift[1] * cos
        if config.square != "none":
            width = height = max(width, height) if config.square == "long" else min(width, height)
        across, down = width * config.scale / config.width, height * config.scale / config.height
        turned = np.array([[cos * across, -sin * down], [sin * across, cos * down]])
        return np.column_stack([turned, np.array([x, y]) - turned @ (config.width / 2, config.height / 2)])
