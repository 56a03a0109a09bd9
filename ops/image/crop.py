from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from devices.spec import ImageSpec, Spec, Specs
from ops.contract import Operator, OperatorError, SpecError, images, lifted, port, records
from ops.image.boxes import cut
from ops.image.rendering import OUTPUTS, Geometry, Rendering, RenderingConfig, Side
from ops.value import Affine, Frame, Image, Many, Tensors


class Crop(Operator):
    """Cuts a fixed rectangle out of the picture or, with `detections` connected, one crop for each of them, scaled to width x height."""

    op = "image.crop"
    inputs = {
        "image": port("image"),
        "detections": port("detections", doc="boxes to cut out, one item each", optional=True),
    }
    outputs = OUTPUTS

    class Config(RenderingConfig):
        """`rect` (left, top, right, bottom) counts in pixels of the picture as shown, or in `fractions` of its size.

        `width`, `height`: size of the result; needed for detections, by default the rectangle's own. `margin` is added to each side of
        a box, in parts of its size; `square` widens the shorter side. `capacity` bounds the crops of one frame, best scores first.
        """

        rect: tuple[float, float, float, float] | None = None
        unit: Literal["pixels", "fractions"] = "pixels"
        width: Side | None = None
        height: Side | None = None
        margin: Annotated[float, Field(ge=0, le=10)] = 0.0
        square: bool = False
        capacity: Annotated[int, Field(ge=1, le=256)] = 16

        @model_validator(mode="after")
        def _fits(self) -> Crop.Config:
            if (self.width is None) != (self.height is None):
                raise ValueError("expected both width and height, or neither")
            if self.rect is not None:
                left, top, right, bottom = self.rect
                if not (0 <= left < right and 0 <= top < bottom):
                    raise ValueError(f"rect: expected 0 <= left < right and 0 <= top < bottom, got {self.rect}")
                if self.unit == "fractions" and max(right, bottom) > 1:
                    raise ValueError(f"rect: expected fractions up to 1, got {self.rect}; use `unit: pixels` for pixels")
            return self

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        image = images(specs["image"], "image")
        if "detections" not in specs:
            if self.config.rect is None:
                raise SpecError(port="detections", expected="detections", got="nothing", hint="connect detections or set `rect`")
            try:
                return {self._rendering.port: self._rendering.spec(self._fixed(image).size)}
            except OperatorError as error:
                raise SpecError(port="image", expected="a picture that holds `rect`", got=str(image), hint=str(error)) from None
        records(specs["detections"], "detections", "detections")
        if self.config.rect is not None:
            raise SpecError(port="detections", expected="nothing", got="detections", hint="`rect` is set: remove one of the two")
        if self.config.width is None:
            raise SpecError(
                port="detections", expected="width and height in the config", got="none", hint="crops of one list have one size"
            )
        return {self._rendering.port: lifted(self._rendering.spec((self.config.width, self.config.height)), self.config.capacity)}

    def run(self, frame: Frame, *, image: Image, detections: np.ndarray | None = None) -> Mapping[str, Image | Tensors | Many]:
        if detections is None:
            return self._rendering.still(self.context, image, self._fixed)
        size = self.config.width, self.config.height

        def render(matrix: Affine, index: int) -> Mapping[str, Image | Tensors]:
            return self._rendering.moving(self.context, image, size, matrix, None, index)

        return cut(detections, self.config.capacity, self._rendering.port, self._around, render)

    def _fixed(self, spec: ImageSpec) -> Geometry:
        width, height = spec.upright
        unit = (1.0, 1.0) if self.config.unit == "pixels" else (float(width), float(height))
        left, top, right, bottom = (value * unit[i % 2] for i, value in enumerate(self.config.rect))
        right, bottom = min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            raise OperatorError(f"expected a rectangle inside the picture of {width}x{height}, got {self.config.rect}")
        size = self.config.width or max(1, round(right - left)), self.config.height or max(1, round(bottom - top))
        return Geometry(size, np.array([[(right - left) / size[0], 0.0, left], [0.0, (bottom - top) / size[1], top]]))

    def _around(self, detection: Any) -> Affine | None:
        left, top, right, bottom = (float(v) for v in detection["box"])
        width, height = (right - left) * (1 + 2 * self.config.margin), (bottom - top) * (1 + 2 * self.config.margin)
        if not (math.isfinite(left + right + top + bottom) and width > 0 and height > 0):
            return None
        x, y = (left + right) / 2, (top + bottom) / 2
        if self.config.square:
            width = height = max(width, height)
        return np.array([[width / self.config.width, 0.0, x - width / 2], [0.0, height / self.config.height, y - height / 2]])
