from __future__ import annotations

from typing import Literal

import numpy as np

from devices.spec import ImageSpec
from ops.image.fitted import Fitted
from ops.image.rendering import Geometry, Level
from ops.value import Affine


class Letterbox(Fitted):
    """Scales the whole picture into width x height without distortion; what is left over is `pad` (equal to cv2.resize)."""

    op = "image.letterbox"

    class Config(Fitted.Config):
        """`align`: where the picture lies in the output. `pad`: level of every channel around it."""

        align: Literal["top-left", "center"] = "top-left"
        pad: Level = 0.0

    def geometry(self, spec: ImageSpec) -> Geometry:
        from devices.kernels.image import Placement

        matrix, rect = place(spec, self.config.width, self.config.height, self.config.align)
        return Geometry(self.size, matrix, Placement(rect, self.config.pad))


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
