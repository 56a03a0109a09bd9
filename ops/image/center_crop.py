from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from devices.spec import ImageSpec, Spec, Specs
from ops.contract import Operator, images, port
from ops.image.rendering import OUTPUTS, Geometry, Rendering, RenderingConfig, Side
from ops.value import Frame, Image, Tensors


class CenterCrop(Operator):
    """Scales the picture without distortion and cuts width x height out of its middle.

    `resize` is the length of the shorter side after scaling (ImageNet's evaluation: resize 256, crop 224); without it the picture is
    scaled until it just covers the output.
    """

    op = "image.center_crop"
    inputs = {"image": port("image")}
    outputs = OUTPUTS

    class Config(RenderingConfig):
        """Size of the output in pixels, and of the scaled picture's shorter side."""

        width: Side
        height: Side
        resize: Side | None = None

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        images(specs["image"], "image")
        return {self._rendering.port: self._rendering.spec((self.config.width, self.config.height))}

    def run(self, frame: Frame, *, image: Image) -> Mapping[str, Image | Tensors]:
        return self._rendering.still(self.context, image, self._geometry)

    def _geometry(self, spec: ImageSpec) -> Geometry:
        width, height = self.config.width, self.config.height
        shown_width, shown_height = spec.upright
        if self.config.resize is not None:
            part, whole = self.config.resize, min(shown_width, shown_height)
        elif width * shown_height >= height * shown_width:
            part, whole = width, shown_width
        else:
            part, whole = height, shown_height
        # Whole sizes and offsets, as torchvision's Resize and CenterCrop round them.
        scaled_width, scaled_height = max(width, shown_width * part // whole), max(height, shown_height * part // whole)
        x, y = shown_width / scaled_width, shown_height / scaled_height
        left, top = round((scaled_width - width) / 2), round((scaled_height - height) / 2)
        return Geometry((width, height), np.array([[x, 0.0, left * x], [0.0, y, top * y]]))
