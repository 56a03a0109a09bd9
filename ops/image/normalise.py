from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices.spec import Spec, Specs
from ops.contract import Operator, images, port
from ops.image.rendering import Geometry, Rendering, RenderingConfig, TensorConfig
from ops.value import IDENTITY, Frame, Image, Tensors


class Normalise(Operator):
    """The picture as a tensor of its own (upright) size: no scaling, value = (pixel - mean) / std."""

    op = "image.normalise"
    inputs = {"image": port("image")}
    outputs = {"tensors": port("tensors")}

    class Config(RenderingConfig):
        """The tensor to make."""

        tensor: TensorConfig

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"tensors": self._rendering.spec(images(specs["image"], "image").upright)}

    def run(self, frame: Frame, *, image: Image) -> Mapping[str, Image | Tensors]:
        return self._rendering.still(self.context, image, lambda spec: Geometry(spec.upright, IDENTITY))
