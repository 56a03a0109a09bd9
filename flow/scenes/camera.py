"""The camera that films a scene."""

from __future__ import annotations

import math

import cv2
import numpy as np

from flow.scenes.scene import rng_of


class Camera:
    """Exposure that drifts, sensor noise, and a lens that is not quite sharp; all decided by the seed."""

    MARGIN = 64

    def __init__(self, *, seed: int, width: int, height: int) -> None:
        rng = rng_of(seed, 1)
        self.seed, self.width, self.height = seed, width, height
        self.gain = float(rng.uniform(0.9, 1.08))
        self.drift = float(rng.uniform(0.01, 0.05))
        self.blur = float(max(rng.uniform(-0.6, 0.75), 0)) * height / 360
        sigma = float(rng.uniform(1.0, 4.0))
        size = (height + self.MARGIN, width + self.MARGIN, 1)
        grain = rng.normal(0, sigma, size).astype(np.float32) + rng.normal(0, sigma / 3, (*size[:2], 3)).astype(np.float32)
        self.grain = np.clip(np.rint(grain + 128), 0, 255).astype(np.uint8)

    def film(self, picture: np.ndarray, index: int, seconds: float) -> np.ndarray:
        """What the camera makes of a picture."""
        if self.blur > 0.2:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        shift = rng_of(self.seed, 2, index).integers(0, self.MARGIN, 2)
        grain = self.grain[shift[0] : shift[0] + self.height, shift[1] : shift[1] + self.width]
        gain = self.gain * (1 + self.drift * math.sin(seconds * 0.9 + self.seed))
        filmed: np.ndarray = cv2.addWeighted(picture, gain, grain, 1.0, -128.0)
        return filmed
