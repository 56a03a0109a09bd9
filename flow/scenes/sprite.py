"""Pictures cut out ahead of time, and how they are laid onto a canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out: `pixels` uint8 (h, w, 4), BGRA with colour already multiplied by alpha.

    `origin` is where the sprite is held, in its pixels; `density` its pixels a unit; `hull` float32 (n, 2) the convex hull of
    what is opaque, in its pixels.
    """

    pixels: np.ndarray
    origin: tuple[float, float]
    density: float
    hull: np.ndarray


@dataclass(frozen=True, slots=True)
class Placement:
    """A sprite on a canvas: its origin at (`x`, `y`) canvas pixels, `scale` canvas pixels a unit, turned clockwise by `angle` degrees.

    `stretch` scales it sideways before it is turned; negative mirrors it.
    """

    sprite: Sprite
    x: float
    y: float
    scale: float
    angle: float = 0.0
    stretch: float = 1.0

    @property
    def transform(self) -> np.ndarray:
        """float64 (2, 3): continuous sprite pixels to continuous canvas pixels."""
        zoom = self.scale / self.sprite.density
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([zoom * self.stretch, zoom])
        shift = np.array([self.x, self.y]) - linear @ np.asarray(self.sprite.origin)
        return np.column_stack([linear, shift])

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) of what is opaque, in canvas pixels; may reach beyond the canvas."""
        matrix = self.transform
        points = self.sprite.hull @ matrix[:, :2].T + matrix[:, 2]
        (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
        return float(x1), float(y1), float(x2), float(y2)

    def paint(self, canvas: np.ndarray) -> None:
        """Lays the sprite onto `canvas`, uint8 (h, w, 3) BGR, in place."""
        height, width = self.sprite.pixels.shape[:2]
        matrix = self.transform
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ matrix[:, :2].T + matrix[:, 2]
        left, top = (max(math.floor(v), 0) for v in corners.min(axis=0))
        right, bottom = (min(math.ceil(v), limit) for v, limit in zip(corners.max(axis=0), canvas.shape[1::-1], strict=True))
        if right <= left or bottom <= top:
            return
        # OpenCV counts from the centre of the first pixel, we from its corner.
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - (left + 0.5, top + 0.5)
        cut = cv2.warpAffine(self.sprite.pixels, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        lay(canvas[top:bottom, left:right], cut)


def lay(region: np.ndarray, cut: np.ndarray) -> None:
    """Lays premultiplied BGRA `cut` over the BGR `region` of the same size, in place."""
    through = cv2.cvtColor(cv2.bitwise_not(cut[:, :, 3]), cv2.COLOR_GRAY2BGR)
    cv2.add(cv2.multiply(region, through, scale=1 / 255), cv2.cvtColor(cut, cv2.COLOR_BGRA2BGR), dst=region)


def cut_out(colour: np.ndarray, alpha: np.ndarray, origin: tuple[float, float], density: float) -> Sprite:
    """A sprite of `colour`, float (h, w, 3) BGR in 0..255, and `alpha`, float (h, w) in 0..1."""
    pixels = np.empty((*alpha.shape, 4), np.uint8)
    pixels[:, :, :3] = np.clip(colour, 0, 255) * alpha[:, :, None] + 0.5
    pixels[:, :, 3] = alpha * 255 + 0.5
    contours, _ = cv2.findContours((alpha > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return Sprite(pixels, origin, density, np.array([origin], np.float32))
    hull = cv2.convexHull(np.concatenate(contours)).reshape(-1, 2).astype(np.float32)
    # A contour runs through pixel centres; what is opaque reaches half a pixel further.
    corners = np.concatenate([hull + offset for offset in ((0, 0), (1, 0), (0, 1), (1, 1))])
    return Sprite(pixels, origin, density, cv2.convexHull(corners.astype(np.float32)).reshape(-1, 2))


def shadow(length: float, depth: float, density: float, strength: float = 0.4) -> Sprite:
    """A soft dark ellipse, `length` x `depth` units, for the ground under things."""
    width, height = max(int(length * density), 4), max(int(depth * density), 4)
    y, x = np.mgrid[:height, :width]
    distance = ((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2
    alpha = strength * np.clip(1 - distance, 0, 1) ** 0.8
    return cut_out(np.zeros((height, width, 3)), alpha, (width / 2, height / 2), density)
