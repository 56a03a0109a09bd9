from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from devices.spec import ImageSpec, Spec, Specs
from ops.contract import Operator, images, port
from ops.image.rendering import OUTPUTS, Geometry, Rendering, RenderingConfig, Side
from ops.value import Frame, Image, Tensors


class Resize(Operator):
    """Stretches the whole picture to width x height (equal to cv2.resize)."""

    op = "image.resize"
    inputs = {"image": port("image")}
    outputs = OUTPUTS

    class Config(RenderingConfig):
        """Size of the output in pixels."""

        width: Side
        height: Side

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        images(specs["image"], "image")
        return {self._rendering.port: self._rendering.spec((self.config.width, self.config.height))}

    def run(self, frame: Frame, *, image: Image) -> Mapping[str, Image | Tensors]:
        return self._rendering.still(self.context, image, self._geometry)

    def _geometry(self, spec: ImageSpec) -> Geometry:
        width, height = spec.upright
        matrix = np.array([[width / self.config.width, 0.0, 0.0], [0.0, height / self.config.height, 0.0]])
        return Geometry((self.config.width, self.config.height), matrix)
