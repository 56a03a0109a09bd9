"""A dark pen that draws on a sheet of paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from flow.scenes.camera import Camera
from flow.scenes.clay import Clay, Colour
from flow.scenes.desk import desk
from flow.scenes.scene import rng_of
from flow.scenes.sprite import Placement, Sprite
from flow.scenes.truth import Tip, Truth

PAGE = 10.0
"""Seconds from one empty sheet to the next."""
REST = 1.0
"""Seconds of them that the finished drawing stays, the pen lifted."""
LIFT = 0.035
"""How high the pen is lifted between strokes, in heights of the picture."""

PENS: tuple[Colour, ...] = ((30, 32, 40), (34, 28, 44), (44, 26, 28), (24, 40, 38))
INKS: tuple[Colour, ...] = ((74, 112, 214), (206, 92, 92), (64, 150, 112), (150, 104, 190))


@dataclass(frozen=True, slots=True)
class Page:
    """A drawing as the pen's way: `way` (n, 2) in shares of the paper, evenly spaced in time, `lift` (n,) 0 on the paper to 1."""

    way: np.ndarray
    lift: np.ndarray


class PenScene:
    """A desk seen from above, a sheet, and a pen that fills it with drawings."""

    def __init__(self, *, seed: int, width: int, height: int, fps: float) -> None:
        rng = rng_of(seed, 40)
        self.seed, self.width, self.height, self.fps = seed, width, height, fps
        self.camera = Camera(seed=seed, width=width, height=height)
        self.desk, self.paper = desk(width, height, rng_of(seed, 3))
        self.ink = INKS[rng.integers(len(INKS))][::-1]
        self.angle = float(rng.uniform(-48, -34))
        self.sprite = pen_sprite(PENS[rng.integers(len(PENS))], height * 1.1)
        self.shade = _flat(self.sprite, 0.22)

    def frame(self, index: int) -> np.ndarray:
        """The picture, uint8 (height, width, 3) BGR."""
        canvas = self.desk.copy()
        page, at = self._now(index)
        points = page.way[: at + 1] @ self.paper[:, :2].T + self.paper[:, 2]
        down = page.lift[: at + 1] == 0
        cuts = np.flatnonzero(np.diff(down)) + 1
        strokes = [
            np.round(run * 16).astype(np.int32) for run, on in zip(np.split(points, cuts), np.split(down, cuts), strict=True) if on[0]
        ]
        cv2.polylines(canvas, strokes, False, self.ink, max(round(self.height / 130), 1), cv2.LINE_AA, 4)
        tip, lift = points[-1], float(page.lift[at]) * LIFT
        lean = self.angle + 10 * (tip[0] / self.width - 0.5)
        far = (0.006 + lift) * self.height
        Placement(self.shade, tip[0] + far, tip[1] + far * 0.6, self.height, lean + 5).paint(canvas)
        Placement(self.sprite, tip[0], tip[1] - lift * self.height, self.height, lean).paint(canvas)
        return self.camera.film(canvas, index, index / self.fps)

    def truth(self, index: int) -> Truth:
        """Where the tip is."""
        page, at = self._now(index)
        x, y = self.paper[:, :2] @ page.way[at] + self.paper[:, 2]
        lift = float(page.lift[at])
        return Truth(tip=Tip(float(x), float(y) - lift * LIFT * self.height, lift == 0))

    def _now(self, index: int) -> tuple[Page, int]:
        """The page of this frame, and how far the pen is on it."""
        number, since = divmod(index / self.fps, PAGE)
        page = drawing(self.seed, int(number))
        return page, min(int(since / (PAGE - REST) * len(page.way)), len(page.way) - 1)


@lru_cache(maxsize=8)
def pen_sprite(colour: Colour, density: float) -> Sprite:
    """A pen held at its tip, pointing up, so long that it reaches out of the picture; a unit is the height of the picture."""
    clay = Clay(left=-0.05, top=-0.02, right=0.05, bottom=1.8, density=density)
    clay.limb((0, 0.006, 0), (0, 0.075, 0), 0.006, 0.024, colour, gloss=0.1)
    clay.limb((0, 0.075, 0), (0, 0.5, 0), 0.026, 0.028, colour, gloss=0.22)
    clay.limb((0, 0.5, 0), (0, 1.9, 0), 0.031, 0.031, colour, gloss=0.22)
    return clay.finish(folds=0.2)


def _flat(sprite: Sprite, strength: float) -> Sprite:
    """The sprite's own shadow."""
    soft = cv2.GaussianBlur(sprite.pixels[:, :, 3], (0, 0), max(sprite.density * 0.006, 0.5))
    pixels = np.zeros_like(sprite.pixels)
    pixels[:, :, 3] = soft * strength
    return Sprite(pixels, sprite.origin, sprite.density, sprite.hull)


@lru_cache(maxsize=4)
def drawing(seed: int, number: int) -> Page:
    """Page `number` of a scene."""
    rng = rng_of(seed, 41, number)
    draw = (_flower, _spirals, _writing, _star, _house)[rng.integers(5)]
    strokes = [_even(np.clip(stroke, 0.06, 0.94), 0.005) for stroke in draw(rng)]
    way, lift = [strokes[0]], [np.zeros(len(strokes[0]))]
    ends = [*strokes[1:], np.array([[0.85, 0.8]])]
    for stroke, following in zip(strokes, ends, strict=True):
        move = _even(np.stack([stroke[-1], following[0]]), 0.012)
        way += [move, following]
        lift += [0.001 + np.sin(np.linspace(0, math.pi, len(move))), np.zeros(len(following))]
    lift[-1] = np.ones(1)
    lift[-2] = np.linspace(0.001, 1, len(lift[-2]))
    return Page(np.concatenate(way), np.concatenate(lift))


def _even(points: np.ndarray, step: float) -> np.ndarray:
    """Points along the same line, `step` apart."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0], np.cumsum(lengths)])
    at = np.linspace(0, along[-1], max(int(along[-1] / step), 2))
    return np.stack([np.interp(at, along, points[:, i]) for i in (0, 1)], axis=1)


def _flower(rng: np.random.Generator) -> list[np.ndarray]:
    a = np.linspace(0, 2 * np.pi, 400)
    petals = int(rng.integers(4, 8))
    r = 0.22 + 0.13 * np.cos(petals * a)
    bloom = np.stack([0.5 + 0.68 * r * np.cos(a), 0.4 + r * np.sin(a)], 1)
    heart = np.stack([0.5 + 0.045 * np.cos(a), 0.4 + 0.065 * np.sin(a)], 1)
    stem = np.stack([0.5 + 0.03 * np.sin(np.linspace(0, 3, 40)), np.linspace(0.62, 0.92, 40)], 1)
    leaf = np.stack([0.5 + 0.12 * np.sin(a / 2) + 0.02, 0.82 - 0.06 * np.sin(a)], 1)
    return [bloom, heart, stem, leaf]


def _spirals(rng: np.random.Generator) -> list[np.ndarray]:
    a = np.linspace(0, 2 * np.pi * 4, 500)
    turn = rng.choice([-1, 1])
    return [np.stack([cx + 0.16 * a / a[-1] * np.cos(turn * a), 0.48 + 0.3 * a / a[-1] * np.sin(turn * a)], 1) for cx in (0.28, 0.7)]


def _writing(rng: np.random.Generator) -> list[np.ndarray]:
    lines = []
    for y in (0.2, 0.4, 0.6, 0.8):
        t = np.linspace(0, 1, 500)
        tall = np.interp(t, np.linspace(0, 1, 14), rng.uniform(0.3, 1, 14))
        a = t * 2 * np.pi * 13
        lines.append(np.stack([0.1 + 0.74 * t - 0.02 * np.sin(a), y - 0.055 * tall * np.cos(a)], 1))
    return lines


def _star(rng: np.random.Generator) -> list[np.ndarray]:
    n = int(rng.choice([5, 7, 9]))
    order = np.arange(n + 1) * (n // 2) * 2 * np.pi / n - np.pi / 2
    star = np.stack([0.5 + 0.27 * np.cos(order), 0.5 + 0.4 * np.sin(order)], 1)
    a = np.linspace(0, 2 * np.pi, 200)
    return [star, np.stack([0.5 + 0.29 * np.cos(a), 0.5 + 0.43 * np.sin(a)], 1)]


def _house(rng: np.random.Generator) -> list[np.ndarray]:
    x = float(rng.uniform(0.3, 0.4))
    walls = np.array([[x, 0.5], [x, 0.88], [x + 0.34, 0.88], [x + 0.34, 0.5], [x, 0.5], [x + 0.17, 0.22], [x + 0.34, 0.5]])
    door = np.array([[x + 0.13, 0.88], [x + 0.13, 0.66], [x + 0.22, 0.66], [x + 0.22, 0.88]])
    pane = np.array([[x + 0.04, 0.58], [x + 0.1, 0.58], [x + 0.1, 0.7], [x + 0.04, 0.7], [x + 0.04, 0.58]])
    a = np.linspace(0, 2 * np.pi, 100)
    sun = np.stack([0.15 + 0.06 * np.cos(a), 0.2 + 0.085 * np.sin(a)], 1)
    rays = [np.array([[0.15 + r * 0.7 * c, 0.2 + r * s] for r in (0.12, 0.16)]) for c, s in ((np.cos(t), np.sin(t)) for t in a[::14])]
    return [walls, door, pane, sun, *rays]
