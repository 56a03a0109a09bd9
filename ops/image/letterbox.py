from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from devices.spec import ImageSpec, Spec, Specs
from ops.contract import Operator, images, port
from ops.image.rendering import OUTPUTS, Geometry, Level, Rendering, RenderingConfig, Side
from ops.value import Affine, Frame, Image, Tensors


class Letterbox(Operator):
    """Scales the whole picture into width x height without distortion; what is left over is `pad` (equal to cv2.resize)."""

    op = "image.letterbox"
    inputs = {"image": port("image")}
    outputs = OUTPUTS

    class Config(RenderingConfig):
        """`align`: where the picture lies in the output. `pad`: level of every channel around it."""

        width: Side
        height: Side
        align: Literal["top-left", "center"] = "top-left"
        pad: Level = 0.0

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._rendering = Rendering(self.config)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        images(specs["image"], "image")
        return {self._rendering.port: self._rendering.spec((self.config.width, self.config.height))}

    def run(self, frame: Frame, *, image: Image) -> Mapping[str, Image | Tensors]:
        return self._rendering.still(self.context, image, self._geometry)

    def _geometry(self, spec: ImageSpec) -> Geometry:
        from devices.kernels.image import Placement

        matrix, rect = place(spec, self.config.width, self.config.height, self.config.align)
        return Geometry((self.config.width, self.config.height), matrix, Placement(rect, self.config.pad))


def place(spec: ImageSpec, width: int, height: int, align: str) -> tuple[Affine, tuple[int, int, int, int]]:
    """The map from output pixels to the upright picture, and the rectangle (left, top, right, bottom) that the picture covers.

    Sizes are rounded down as the loops of YOLOX and its like do it, int(side * ratio) in floating point: where that falls just below a
    whole number, the picture is a pixel smaller than the output. The map is that of the rectangle: across and down may differ a little.
    """
    shown_width, shown_height = spec.upright
    ratio = min(width / shown_width, height / shown_height)
    scaled_width, scaled_height = max(1, int(shown_width * ratio)), max(1, int(shown_height * ratio))
    left, top = ((width - scaled_width) // 2, (height - scaled_height) // 2) if align == "center" else (0, 0)
    x, y = shown_width / scaled_width, shown_height / scaled_height
    matrix = np.array([[x, 0.0, -left * x], [0.0, y, -top * y]])
    return matrix, (left, top, left + scaled_width, top + scaled_height)
