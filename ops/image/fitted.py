"""What the operators share that bring a whole picture to a size: where its pixels go depends on its size alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices.spec import ImageSpec, Spec, Specs
from ops.contract import Operator, images, port
from ops.image.rendering import OUTPUTS, Geometry, Rendering, RenderingConfig, Side
from ops.value import Frame, Image, Tensors


class Fitted(Operator):
    """Base of them: `geometry` says how a picture of a spec is brought to width x height."""

    inputs = {"image": port("image")}
    outputs = OUTPUTS

    class Config(RenderingConfig):
        """Size of the output in pixels."""

        width: Side
        height: Side

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the output."""
        return self.config.width, self.config.height

    def infer(self, specs: Specs) -> dict[str, Spec]:
        images(specs["image"], "image")
        return {self._rendering.port: self._rendering.spec(self.size)}

    def run(self, frame: Frame, *, image: Image) -> Mapping[str, Image | Tensors]:
        return self._rendering.still(self.context, image, self.geometry)

    def geometry(self, spec: ImageSpec) -> Geometry:
        """Where the pixels of the output lie in a picture of this spec."""
        raise TypeError(f"{type(self).__name__} must define geometry")
