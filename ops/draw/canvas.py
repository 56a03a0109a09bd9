"""What drawings are made of: colours that tell things apart, boxes, labels, and skeletons, sized for the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

Color = tuple[int, int, int]

PALETTE: tuple[Color, ...] = (
    (247, 165, 56), (80, 200, 90), (76, 110, 245), (0, 190, 250), (214, 92, 174), (170, 190, 0),
    (120, 90, 240), (30, 80, 190), (200, 200, 70), (140, 220, 160), (240, 120, 120), (110, 180, 220),
)  # fmt: skip
"""BGR, bright enough to be seen on video, far enough from each other to be told apart."""

HAND = (
    ((0, 1), (1, 2), (2, 3), (3, 4)),
    ((0, 5), (5, 6), (6, 7), (7, 8)),
    ((5, 9), (9, 10), (10, 11), (11, 12)),
    ((9, 13), (13, 14), (14, 15), (15, 16)),
    ((13, 17), (0, 17), (17, 18), (18, 19), (19, 20)),
)
"""Bones of MediaPipe's 21 hand points, finger by finger, each with the part of the palm beside it."""

FAR = 1 << 14
"""Coordinates are kept within this many pixels, which OpenCV's fixed-point drawing can take."""


def color(key: int) -> Color:
    """The colour of a class or track."""
    return PALETTE[key % len(PALETTE)]


class Canvas:
    """Draws into BGR pixels (H, W, 3) uint8, in place. Coordinates are pixels; lines are drawn at sub-pixel places, antialiased."""

    def __init__(self, pixels: np.ndarray) -> None:
        import cv2

        self._cv: Any = cv2
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        side = min(self.width, self.height)
        self.line = max(1, round(side / 300))
        self._font = max(0.35, side / 1000)
        self._margin = max(2, round(side / 150))
        self._labels: list[tuple[int, int, int, int]] = []

    def box(self, box: np.ndarray, color: Color) -> None:
        """A rectangle x1 y1 x2 y2 with stressed corners."""
        x1, y1, x2, y2 = (float(value) for value in np.clip(np.nan_to_num(box), -FAR, FAR))
        reach = min(x2 - x1, y2 - y1) / 4
        for (x, y), dx, dy in (((x1, y1), 1, 1), ((x2, y1), -1, 1), ((x2, y2), -1, -1), ((x1, y2), 1, -1)):
            self.lines([(x + dx * reach, y), (x, y), (x, y + dy * reach)], color, self.line + max(1, self.line // 2))
        self.lines([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)], color, max(1, self.line // 2))

    def lines(self, points: Any, color: Color, thickness: int) -> None:
        """Joined lines through points (n, 2)."""
        fixed = np.round((np.clip(np.nan_to_num(np.asarray(points, float)), -FAR, FAR) - 0.5) * 16).astype(np.int32)
        self._cv.polylines(self.pixels, [fixed], False, color, thickness, self._cv.LINE_AA, 4)

    def line_with_side(self, ends: np.ndarray, color: Color) -> None:
        """A line between two ends (2, 2), and from its middle an arrow to the right of who walks from the first to the second."""
        start, end = np.clip(np.nan_to_num(ends), -FAR, FAR)
        along = (end - start) / max(1e-9, float(np.hypot(*(end - start))))
        across, reach = np.array([-along[1], along[0]]), 6 * self.line
        middle, tip = (start + end) / 2, (start + end) / 2 + 2 * reach * across
        self.rimmed([middle, tip], color)
        self.rimmed([tip - 0.7 * reach * (across + along), tip, tip - 0.7 * reach * (across - along)], color)
        self.rimmed([start, end], color)

    def rimmed(self, points: Any, color: Color) -> None:
        """Joined lines through points (n, 2), with a dark rim."""
        self.lines(points, (32, 32, 32), self.line + 2)
        self.lines(points, color, self.line)

    def dot(self, point: Any, color: Color, radius: float) -> None:
        """A filled disc with a dark rim."""
        x, y = (round((float(value) - 0.5) * 16) for value in np.clip(np.nan_to_num(np.asarray(point, float)), -FAR, FAR))
        self._cv.circle(self.pixels, (x, y), round((radius + 1) * 16), (32, 32, 32), -1, self._cv.LINE_AA, 4)
        self._cv.circle(self.pixels, (x, y), round(radius * 16), color, -1, self._cv.LINE_AA, 4)

    def label(self, text: str, x: float, y: float, color: Color, *, below: bool = False) -> None:
        """Text on a ground of `color`, its lower left corner at (x, y) (`below`: its upper left one), moved to lie in the picture.

        It is moved down, or else up, where another label lies already.
        """
        (w, h), base = self._cv.getTextSize(text, self._cv.FONT_HERSHEY_SIMPLEX, self._font, 1)
        w, h = w + 2 * self._margin, h + base + 2 * self._margin
        x, y = np.nan_to_num((x, y if below else y - h))
        left, top = int(np.clip(x, 0, max(0, self.width - w))), int(np.clip(y, 0, max(0, self.height - h)))
        top = self._free(left, top, w, h)
        self._labels.append((left, top, left + w, top + h))
        ground = self.pixels[top : top + h, left : left + w]
        ground[:] = (ground.astype(np.uint16) + 3 * np.array(color, np.uint16)) // 4
        dark = (color[0] * 114 + color[1] * 587 + color[2] * 299) / 1000 < 140
        ink = (255, 255, 255) if dark else (16, 16, 16)
        at = (left + self._margin, top + h - base - self._margin)
        self._cv.putText(self.pixels, text, at, self._cv.FONT_HERSHEY_SIMPLEX, self._font, ink, max(1, self.line // 2), self._cv.LINE_AA)

    def _free(self, left: int, top: int, w: int, h: int) -> int:
        """The nearest top, below or else above, at which a label hides no other; the one given where there is none."""
        beside = [(y1, y2) for x1, y1, x2, y2 in self._labels if x1 < left + w and left < x2]
        for step in (1, -1):
            at = top
            while at >= 0 and at + h <= self.height:
                met = [(y1, y2) for y1, y2 in beside if y1 < at + h and at < y2]
                if not met:
                    return at
                at = max(y2 for _, y2 in met) if step > 0 else min(y1 for y1, _ in met) - h
        return top

    def label_height(self) -> int:
        """Height of a label in pixels."""
        (_, h), base = self._cv.getTextSize("Ag", self._cv.FONT_HERSHEY_SIMPLEX, self._font, 1)
        return int(h + base + 2 * self._margin)

    def hand(self, points: np.ndarray) -> None:
        """The skeleton of a hand, (21, 2)."""
        for finger, bones in enumerate(HAND):
            for a, b in bones:
                self.rimmed(points[[a, b]], PALETTE[finger])
        for index, point in enumerate(points):
            finger = 0 if index == 0 else (index - 1) // 4
            self.dot(point, (255, 255, 255) if index == 0 else PALETTE[finger], self.line + 0.5)
