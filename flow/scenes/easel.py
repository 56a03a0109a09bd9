"""A canvas for still pictures: filled shapes with gradients, soft shadows, daylight at the end."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from flow.scenes.clay import Colour, mix

SUPERSAMPLE = 2
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Easel:
    """A canvas whose unit is its height: x runs to `aspect`, y to 1. Pixels are float32 RGB, supersampled."""

    pixels: np.ndarray
    unit: float

    @property
    def aspect(self) -> float:
        return float(self.pixels.shape[1] / self.unit)

    @classmethod
    def blank(cls, width: int, height: int) -> Easel:
        """A canvas for a picture of `width` x `height` pixels."""
        return cls(np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE, 3), np.float32), float(height * SUPERSAMPLE))

    def fill(self, points: np.ndarray, top: Colour, bottom: Colour | None = None, *, soft: float = 0.0, alpha: float = 1.0) -> None:
        """A polygon, (n, 2) units, coloured from `top` down to `bottom`; `soft` blurs its edge, in units."""
        margin = soft * 3 + 2 / self.unit
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        x1, y1 = (max(int(v * self.unit), 0) for v in low)
        x2, y2 = (min(int(v * self.unit) + 1, n) for v, n in zip(high, self.pixels.shape[1::-1], strict=True))
        if x2 <= x1 or y2 <= y1:
            return
        mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
        cv2.fillPoly(mask, [np.round((points * self.unit - (x1, y1)) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        if soft > 0:
            mask = _blurred(mask, max(soft * self.unit, 0.3))
        share = np.linspace(0, 1, y2 - y1, dtype=np.float32)[:, None, None]
        first, last = np.asarray(top, np.float32), np.asarray(top if bottom is None else bottom, np.float32)
        part = self.pixels[y1:y2, x1:x2]
        part += ((first + (last - first) * share) - part) * (mask.astype(np.float32) * (alpha / 255))[:, :, None]

    def block(self, x: float, y: float, w: float, h: float, top: Colour, bottom: Colour | None = None, *, round: float = 0.0) -> None:
        """A box with corners of radius `round`."""
        self.fill(rounded(x, y, w, h, round), top, mix(top, BLACK, 0.14) if bottom is None else bottom)

    def shade(self, x: float, y: float, w: float, h: float, *, soft: float = 0.03, alpha: float = 0.35) -> None:
        """A soft shadow."""
        self.fill(rounded(x, y, w, h, min(w, h) / 2), (24, 16, 24), soft=soft, alpha=alpha)

    def develop(self, rng: np.random.Generator) -> np.ndarray:
        """The picture, uint8 (height, width, 3) BGR, in daylight from one side with a little vignette."""
        height, width = (side // SUPERSAMPLE for side in self.pixels.shape[:2])
        small = cv2.resize(self.pixels, (width, height), interpolation=cv2.INTER_AREA)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        x, y = x / width - 0.5, y / height - 0.5
        side = float(rng.choice([-1, 1]) * rng.uniform(0.08, 0.26))
        light = (1 + side * x) * (1.04 - 0.42 * (x * x + y * y))
        warmth = float(rng.uniform(-0.05, 0.07))
        tone = np.array([1 - warmth, 1, 1 + warmth], np.float32)
        lit: np.ndarray = np.clip(small[:, :, ::-1] * light[:, :, None] * tone, 0, 255).astype(np.uint8)
        return lit


def _blurred(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs wide at a quarter of the size, where nobody sees the difference."""
    blurred: np.ndarray
    if sigma < 8:
        blurred = cv2.GaussianBlur(mask, (0, 0), sigma)
        return blurred
    small = cv2.resize(mask, (max(mask.shape[1] // 4, 1), max(mask.shape[0] // 4, 1)), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return blurred


def rounded(x: float, y: float, w: float, h: float, radius: float) -> np.ndarray:
    """Corner points of a box with round corners."""
    radius = min(radius, w / 2, h / 2)
    angles = np.linspace(0, np.pi / 2, 8)
    corners = []
    for turn, cx, cy in (
        (2, x + radius, y + radius),
        (3, x + w - radius, y + radius),
        (0, x + w - radius, y + h - radius),
        (1, x + radius, y + h - radius),
    ):
        a = angles + turn * np.pi / 2
        corners.append(np.stack([cx + radius * np.cos(a), cy + radius * np.sin(a)], axis=1))
    return np.concatenate(corners)


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> np.ndarray:
    """Points on an ellipse, turned by `angle` radians."""
    a = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    px, py = rx * np.cos(a), ry * np.sin(a)
    return np.stack([x + px * np.cos(angle) - py * np.sin(angle), y + px * np.sin(angle) + py * np.cos(angle)], axis=1)


def pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    """One of the colours, a little off."""
    chosen = colours[rng.integers(len(colours))]
    jitter = rng.uniform(-12, 12, 3)
    red, green, blue = (float(np.clip(c + j, 0, 255)) for c, j in zip(chosen, jitter, strict=True))
    return red, green, blue
