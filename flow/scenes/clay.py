"""A small modeller: things made of tapered limbs and balls, lit once, kept as sprites.

Every part is a height over the picture plane with its analytic normal; parts meet by a smooth maximum (I. Quilez, "smooth minimum",
https://iquilezles.org/articles/smin), folds are darkened by comparing each height with its surroundings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from flow.scenes.sprite import Sprite, cut_out

Colour = tuple[float, float, float]
"""Red, green, blue in 0..255."""

Point = Sequence[float]
"""x to the right, y down, z towards the viewer, in units."""

SUPERSAMPLE = 2
FAR = -1e3


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from `a` to `b`."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


class Clay:
    """A lump of parts on a plane of `left`..`right` x `top`..`bottom` units, drawn at `density` pixels a unit."""

    def __init__(self, *, left: float, top: float, right: float, bottom: float, density: float) -> None:
        self.left, self.top, self.density = left, top, density
        self.fine = density * SUPERSAMPLE
        rows = math.ceil((bottom - top) * density) * SUPERSAMPLE
        columns = math.ceil((right - left) * density) * SUPERSAMPLE
        self.height = np.full((rows, columns), FAR, np.float32)
        self.normal = np.zeros((rows, columns, 3), np.float32)
        self.colour = np.zeros((rows, columns, 3), np.float32)
        self.gloss = np.zeros((rows, columns), np.float32)

    def limb(self, a: Point, b: Point, start: float, end: float, colour: Colour, *, blend: float = 0.0, gloss: float = 0.1) -> None:
        """A rod from `a` to `b` with round ends, of radius `start` at `a` and `end` at `b`."""
        (ax, ay, az), (bx, by, bz) = map(float, a), map(float, b)
        thick = max(start, end)
        window = self._window(min(ax, bx) - thick, min(ay, by) - thick, max(ax, bx) + thick, max(ay, by) + thick)
        if window is None:
            return
        x, y = self._grid(window)
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        radius = start + (end - start) * t
        nx, ny = (x - ax - dx * t) / radius, (y - ay - dy * t) / radius
        up = 1 - nx * nx - ny * ny
        nz = np.sqrt(np.maximum(up, 0))
        height = np.where(up > 0, az + (bz - az) * t + radius * nz, FAR)
        self._join(window, height, np.dstack([nx, ny, nz]), colour, blend, gloss)

    def ball(self, centre: Point, radii: Point, colour: Colour, *, angle: float = 0.0, blend: float = 0.0, gloss: float = 0.1) -> None:
        """An ellipsoid with half axes `radii`, turned clockwise by `angle` degrees in the picture plane."""
        (cx, cy, cz), (rx, ry, rz) = map(float, centre), map(float, radii)
        thick = max(rx, ry)
        window = self._window(cx - thick, cy - thick, cx + thick, cy + thick)
        if window is None:
            return
        x, y = self._grid(window)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        u, v = ((x - cx) * cos + (y - cy) * sin) / rx, (-(x - cx) * sin + (y - cy) * cos) / ry
        up = 1 - u * u - v * v
        root = np.sqrt(np.maximum(up, 0))
        height = np.where(up > 0, cz + rz * root, FAR)
        nu, nv, nw = u / rx, v / ry, root / rz
        normal = np.dstack([nu * cos - nv * sin, nu * sin + nv * cos, nw])
        normal /= np.sqrt((normal * normal).sum(axis=2, keepdims=True)) + 1e-6
        self._join(window, height, normal, colour, blend, gloss)

    def chain(self, points: Sequence[Point], radii: Sequence[float], colour: Colour, *, blend: float = 0.0, gloss: float = 0.1) -> None:
        """Limbs from point to point; `blend` is how the first one grows out of what is there."""
        for a, b, start, end in zip(points, points[1:], radii, radii[1:], strict=False):
            self.limb(a, b, start, end, colour, blend=blend, gloss=gloss)
            blend = 0.0

    def tube(self, points: Sequence[Point], start: float, end: float, colour: Colour, *, blend: float = 0.0, gloss: float = 0.1) -> None:
        """A bent rod along `points`, whose corners are rounded by cutting them (G. Chaikin, 1974)."""
        line = np.asarray(points, np.float64)
        for _ in range(2):
            cuts = np.stack([line[:-1] * 0.75 + line[1:] * 0.25, line[:-1] * 0.25 + line[1:] * 0.75], axis=1).reshape(-1, 3)
            line = np.concatenate([line[:1], cuts[1:-1], line[-1:]])
        radii = np.linspace(start, end, len(line)).tolist()
        self.chain(line.tolist(), radii, colour, blend=blend, gloss=gloss)

    def spot(self, centre: Point, radii: Point, colour: Colour, *, angle: float = 0.0, strength: float = 1.0, soft: float = 0.15) -> None:
        """Paint on what is already there: an ellipse with an edge `soft` of its size wide."""
        cx, cy, rx, ry = float(centre[0]), float(centre[1]), float(radii[0]), float(radii[1])
        thick = max(rx, ry) * (1 + soft)
        window = self._window(cx - thick, cy - thick, cx + thick, cy + thick)
        if window is None:
            return
        x, y = self._grid(window)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        u, v = ((x - cx) * cos + (y - cy) * sin) / rx, (-(x - cx) * sin + (y - cy) * cos) / ry
        share = strength * np.clip((1 + soft - np.sqrt(u * u + v * v)) / max(soft, 1e-3), 0, 1)[:, :, None]
        self.colour[window] += (np.asarray(colour, np.float32) - self.colour[window]) * share

    def finish(self, *, sun: Point = (-0.45, -0.75, 0.75), tint: Colour = (0.62, 0.55, 0.58), folds: float = 0.5) -> Sprite:
        """The lit sprite, held at (0, 0). `sun` points to the light, `tint` multiplies what lies in shade, `folds` darkens creases."""
        solid = self.height > FAR / 2
        direction = (np.asarray(sun) / np.linalg.norm(sun)).astype(np.float32)
        lit = np.clip((self.normal @ direction) * 0.62 + 0.42, 0, 1)
        alpha = solid.astype(np.float32)
        lit *= 1 - folds * np.clip((self._surroundings(alpha) - self.height) * 4.0, 0, 1)
        lit = (lit * lit * (3 - 2 * lit))[:, :, None]
        half = direction + np.array((0, 0, 1), np.float32)
        shine = np.square(np.square(np.clip(self.normal @ (half / np.linalg.norm(half)), 0, 1)))
        shine = np.square(shine) * np.square(shine) ** 2 * self.gloss
        colour = self.colour * (np.asarray(tint, np.float32) * (1 - lit) + lit * 1.06) + 255 * shine[:, :, None]
        size = (alpha.shape[1] // SUPERSAMPLE, alpha.shape[0] // SUPERSAMPLE)
        small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        flat = cv2.resize(colour[:, :, ::-1] * alpha[:, :, None], size, interpolation=cv2.INTER_AREA)
        flat /= np.maximum(small, 1e-3)[:, :, None]
        return cut_out(flat, small, (-self.left * self.density, -self.top * self.density), self.density)

    def _surroundings(self, alpha: np.ndarray) -> np.ndarray:
        """Mean height around each pixel, of what is solid."""
        coarse = 8
        size = (max(alpha.shape[1] // coarse, 1), max(alpha.shape[0] // coarse, 1))
        reach = 0.09 * self.fine / coarse
        depth = cv2.GaussianBlur(cv2.resize(self.height * alpha, size, interpolation=cv2.INTER_AREA), (0, 0), reach)
        mass = cv2.GaussianBlur(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), (0, 0), reach)
        around: np.ndarray = cv2.resize(depth / (mass + 1e-3), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return around

    def _window(self, x1: float, y1: float, x2: float, y2: float) -> tuple[slice, slice] | None:
        rows, columns = self.height.shape
        left, right = max(int((x1 - self.left) * self.fine), 0), min(math.ceil((x2 - self.left) * self.fine) + 1, columns)
        top, bottom = max(int((y1 - self.top) * self.fine), 0), min(math.ceil((y2 - self.top) * self.fine) + 1, rows)
        return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None

    def _grid(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = window
        y = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / self.fine + self.top)[:, None]
        return ((np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / self.fine + self.left)[None, :], y

    def _join(
        self, window: tuple[slice, slice], height: np.ndarray, normal: np.ndarray, colour: Colour, blend: float, gloss: float
    ) -> None:
        old = self.height[window]
        if blend > 0:
            share = np.clip(0.5 + (height - old) / (2 * blend), 0, 1)
            joined = old + (height - old) * share + blend * share * (1 - share)
        else:
            share = (height > old).astype(np.float32)
            joined = np.maximum(old, height)
        self.height[window] = joined
        many = share[:, :, None]
        turned = self.normal[window] * (1 - many) + normal * many
        self.normal[window] = turned / (np.sqrt((turned * turned).sum(axis=2, keepdims=True)) + 1e-6)
        self.colour[window] = self.colour[window] * (1 - many) + np.asarray(colour, np.float32) * many
        self.gloss[window] = self.gloss[window] * (1 - share) + gloss * share
