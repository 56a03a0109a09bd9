from __future__ import annotations

import numpy as np

from devices.spec import ImageSpec
from ops.image.fitted import Fitted
from ops.image.rendering import Geometry, Side


class CenterCrop(Fitted):
    """Scales the picture without distortion and cuts width x height out of its middle.

    `resize` is the length of the shorter side after scaling (ImageNet's evaluation: resize 256, crop 224); without it the picture is
    scaled until it just covers the output.
    """

    op = "image.center_crop"

    class Config(Fitted.Config):
        """Size of the output in pixels, and of the scaled picture's shorter side."""

        resize: Side | None = None

    def geometry(self, spec: ImageSpec) -> Geometry:
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
