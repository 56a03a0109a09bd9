from __future__ import annotations

import numpy as np

from devices.spec import ImageSpec
from ops.image.fitted import Fitted
from ops.image.rendering import Geometry


class Resize(Fitted):
    """Stretches the whole picture to width x height (equal to cv2.resize)."""

    op = "image.resize"

    def geometry(self, spec: ImageSpec) -> Geometry:
        width, height = spec.upright
        matrix = np.array([[width / self.config.width, 0.0, 0.0], [0.0, height / self.config.height, 0.0]])
        return Geometry(self.size, matrix)
