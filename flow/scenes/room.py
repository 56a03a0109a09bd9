"""A living room: a wall with a window and pictures, furniture, a wooden floor with a rug."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from flow.scenes.clay import Colour, mix
from flow.scenes.easel import BLACK, WHITE, Easel, ellipse, pick, rounded

WALLS: tuple[Colour, ...] = (
    (222, 208, 188),
    (170, 190, 196),
    (196, 178, 200),
    (158, 182, 158),
    (226, 190, 168),
    (120, 134, 158),
    (206, 206, 200),
)
FLOORS: tuple[Colour, ...] = ((178, 132, 90), (140, 98, 66), (206, 170, 126), (150, 128, 110), (118, 84, 62))
CLOTHS: tuple[Colour, ...] = (
    (64, 112, 128),
    (178, 92, 78),
    (104, 110, 150),
    (96, 128, 92),
    (216, 176, 96),
    (132, 92, 118),
    (120, 120, 124),
)
WOODS: tuple[Colour, ...] = ((150, 104, 66), (108, 74, 50), (188, 146, 100), (232, 226, 216))
LEAVES: tuple[Colour, ...] = ((72, 132, 76), (52, 108, 72), (104, 150, 84))

HORIZON = 0.6
"""Where the floor meets the wall, as a share of the height."""


def living_room(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A random living room, uint8 (height, width, 3) BGR."""
    easel = Easel.blank(width, height)
    wall, floor = pick(WALLS, rng), pick(FLOORS, rng)
    aspect = easel.aspect
    easel.fill(rounded(-0.1, -0.1, aspect + 0.2, 1.2, 0), mix(wall, WHITE, 0.12), mix(wall, BLACK, 0.12))
    if rng.random() < 0.3:
        for x in np.arange(0.0, aspect, 0.16):
            easel.fill(rounded(x, -0.1, 0.08, 1.2, 0), mix(wall, WHITE, 0.2), alpha=0.35)
    _floor(easel, floor, rng)
    slots = list(np.linspace(0.16, aspect - 0.16, max(int(aspect / 0.42), 2)) + rng.uniform(-0.06, 0.06))
    rng.shuffle(slots)
    hung: list[Callable[[Easel, float, np.random.Generator], None]] = [_window, _pictures, _shelf, _pictures]
    for x, hang in zip(slots, hung, strict=False):
        hang(easel, float(x), rng)
    rng.shuffle(slots)
    standing: list[Callable[[Easel, float, np.random.Generator], None]] = [_sofa, _plant, _lamp, _cupboard]
    rng.shuffle(standing)
    for x, stand in zip(slots, standing[: int(rng.integers(2, 5))], strict=False):
        stand(easel, float(x), rng)
    if rng.random() < 0.75:
        _rug(easel, rng)
    return easel.develop(rng)


def _floor(easel: Easel, floor: Colour, rng: np.random.Generator) -> None:
    aspect = easel.aspect
    easel.fill(rounded(-0.1, HORIZON, aspect + 0.2, 0.6, 0), mix(floor, BLACK, 0.22), mix(floor, WHITE, 0.08))
    vanish = np.array([aspect / 2, HORIZON - 0.55])
    feet = np.linspace(-1.2, aspect + 1.2, 34)
    for left, right in pairwise(feet):
        shares = np.array([[left, 1.02], [right, 1.02]])
        far = vanish + (shares - vanish) * ((HORIZON - vanish[1]) / (1.02 - vanish[1]))
        board = np.concatenate([shares, far[::-1]])
        tone = float(rng.uniform(-1, 1))
        easel.fill(board, mix(floor, WHITE if tone > 0 else BLACK, 0.5), alpha=abs(tone) * 0.16)
        edge = np.stack([shares[0], shares[0] + (0.004, 0), far[0] + (0.002, 0), far[0]])
        easel.fill(edge, mix(floor, BLACK, 0.6), alpha=0.4)
    easel.shade(-0.2, HORIZON - 0.01, aspect + 0.4, 0.05, soft=0.02, alpha=0.3)
    easel.block(-0.1, HORIZON - 0.035, aspect + 0.2, 0.035, (240, 236, 228))


def _rug(easel: Easel, rng: np.random.Generator) -> None:
    cloth, x = pick(CLOTHS, rng), float(rng.uniform(0.3, 0.7)) * easel.aspect
    for share, tone in ((1.0, 0.0), (0.88, 0.35), (0.82, 0.08), (0.5, 0.3), (0.44, 0.05)):
        easel.fill(ellipse(x, 0.83, 0.52 * share, 0.12 * share), mix(cloth, WHITE, tone), mix(cloth, BLACK, 0.08))


def _window(easel: Easel, x: float, rng: np.random.Generator) -> None:
    w, h, y = 0.4, 0.36, 0.07
    easel.shade(x - w / 2, y + 0.02, w + 0.02, h, soft=0.02, alpha=0.3)
    easel.block(x - w / 2 - 0.02, y - 0.02, w + 0.04, h + 0.04, (248, 246, 240))
    easel.block(x - w / 2, y, w, h, (128, 178, 226), (226, 236, 240))
    hill = mix(pick(LEAVES, rng), (190, 214, 220), 0.4)
    easel.fill(
        np.array(
            [
                [x - w / 2, y + h],
                [x - w / 2, y + 0.27],
                [x - 0.08, y + 0.22],
                [x + 0.06, y + 0.29],
                [x + w / 2, y + 0.24],
                [x + w / 2, y + h],
            ]
        ),
        hill,
    )
    easel.block(x - 0.008, y, 0.016, h, (248, 246, 240))
    easel.block(x - w / 2, y + h / 2 - 0.008, w, 0.016, (248, 246, 240))
    cloth = pick(CLOTHS, rng)
    for side in (-1, 1):
        for fold in range(4):
            at = x + side * (w / 2 + 0.03 - fold * 0.022)
            easel.block(at - 0.016, y - 0.04, 0.032, h + 0.16, mix(cloth, WHITE, 0.12 + 0.1 * (fold % 2)))


def _pictures(easel: Easel, x: float, rng: np.random.Generator) -> None:
    for i in range(int(rng.integers(1, 3))):
        w, h = float(rng.uniform(0.11, 0.17)), float(rng.uniform(0.12, 0.18))
        left, y = x - 0.1 + i * 0.2 - w / 2, float(rng.uniform(0.09, 0.17))
        easel.shade(left + 0.006, y + 0.012, w, h, soft=0.012, alpha=0.4)
        easel.block(left, y, w, h, pick(WOODS, rng))
        easel.block(left + 0.014, y + 0.014, w - 0.028, h - 0.028, (244, 242, 236))
        sky, ground = pick(WALLS, rng), pick(CLOTHS, rng)
        easel.block(left + 0.026, y + 0.026, w - 0.052, h - 0.052, sky, mix(sky, WHITE, 0.3))
        easel.block(left + 0.026, y + h * 0.55, w - 0.052, h * 0.45 - 0.026, ground)
        easel.fill(ellipse(left + w * 0.62, y + h * 0.42, 0.016, 0.016), (246, 214, 120))


def _shelf(easel: Easel, x: float, rng: np.random.Generator) -> None:
    wood = pick(WOODS, rng)
    for y in (0.2, 0.36):
        at = x - 0.16
        while at < x + 0.13:
            w, h = float(rng.uniform(0.014, 0.03)), float(rng.uniform(0.07, 0.11))
            if rng.random() < 0.82:
                easel.block(at, y - h, w, h, pick(CLOTHS, rng))
            at += w + 0.003
        easel.shade(x - 0.17, y + 0.012, 0.36, 0.02, soft=0.012, alpha=0.4)
        easel.block(x - 0.18, y, 0.36, 0.016, wood)


def _sofa(easel: Easel, x: float, rng: np.random.Generator) -> None:
    cloth, half = pick(CLOTHS, rng), 0.36
    easel.shade(x - half - 0.04, 0.63, 2 * half + 0.08, 0.07, soft=0.02, alpha=0.5)
    for side in (-1, 1):
        easel.block(x + side * (half - 0.05) - 0.012, 0.62, 0.024, 0.05, (70, 50, 40))
    easel.block(x - half, 0.36, 2 * half, 0.24, mix(cloth, WHITE, 0.1), mix(cloth, BLACK, 0.12), round=0.05)
    for side in (-1, 1):
        left = x - half + 0.055 if side < 0 else x + 0.004
        easel.block(left, 0.5, half - 0.06, 0.09, mix(cloth, WHITE, 0.22), cloth, round=0.03)
    easel.block(x - half + 0.02, 0.575, 2 * half - 0.04, 0.06, mix(cloth, BLACK, 0.06), mix(cloth, BLACK, 0.28), round=0.02)
    for side in (-1, 1):
        easel.block(x + side * half - 0.05, 0.44, 0.1, 0.2, mix(cloth, WHITE, 0.16), mix(cloth, BLACK, 0.16), round=0.04)
    easel.block(x - half + 0.08, 0.42, 0.12, 0.11, pick(CLOTHS, rng), round=0.03)


def _plant(easel: Easel, x: float, rng: np.random.Generator) -> None:
    green, pot = pick(LEAVES, rng), pick(((196, 110, 78), (236, 232, 224), (84, 92, 108)), rng)
    easel.shade(x - 0.08, 0.655, 0.16, 0.04, soft=0.015, alpha=0.5)
    for i in range(9):
        angle = -np.pi / 2 + (i - 4) * 0.3 + rng.uniform(-0.1, 0.1)
        length = float(rng.uniform(0.11, 0.18))
        tip = ellipse(x + np.cos(angle) * length, 0.5 + np.sin(angle) * length, length * 0.75, 0.026, float(angle))
        easel.fill(tip, mix(green, WHITE, float(rng.uniform(0, 0.22))), mix(green, BLACK, 0.25))
    easel.fill(
        np.array([[x - 0.07, 0.54], [x + 0.07, 0.54], [x + 0.052, 0.67], [x - 0.052, 0.67]]), mix(pot, WHITE, 0.12), mix(pot, BLACK, 0.2)
    )
    easel.block(x - 0.078, 0.525, 0.156, 0.028, mix(pot, WHITE, 0.2), round=0.008)


def _lamp(easel: Easel, x: float, rng: np.random.Generator) -> None:
    easel.shade(x - 0.07, 0.655, 0.14, 0.03, soft=0.012, alpha=0.5)
    easel.fill(ellipse(x, 0.25, 0.26, 0.24), (255, 236, 190), soft=0.09, alpha=0.35)
    easel.block(x - 0.006, 0.3, 0.012, 0.37, (70, 66, 64))
    easel.fill(ellipse(x, 0.67, 0.06, 0.014), (70, 66, 64))
    cloth = mix(pick(CLOTHS, rng), (255, 244, 214), 0.7)
    easel.fill(np.array([[x - 0.05, 0.2], [x + 0.05, 0.2], [x + 0.085, 0.32], [x - 0.085, 0.32]]), mix(cloth, WHITE, 0.4), cloth)


def _cupboard(easel: Easel, x: float, rng: np.random.Generator) -> None:
    wood = pick(WOODS, rng)
    easel.shade(x - 0.2, 0.645, 0.4, 0.05, soft=0.018, alpha=0.5)
    easel.block(x - 0.19, 0.42, 0.38, 0.24, wood)
    easel.block(x - 0.2, 0.405, 0.4, 0.022, mix(wood, WHITE, 0.18))
    for side in (-1, 1):
        left = x - 0.18 if side < 0 else x + 0.005
        easel.block(left, 0.44, 0.175, 0.2, mix(wood, WHITE, 0.1), mix(wood, BLACK, 0.06))
        easel.fill(ellipse(x + side * 0.03, 0.54, 0.008, 0.008), (60, 56, 54))
    easel.block(x - 0.1, 0.34, 0.035, 0.065, pick(CLOTHS, rng), round=0.012)
    easel.fill(ellipse(x + 0.08, 0.38, 0.026, 0.026), mix(pick(CLOTHS, rng), WHITE, 0.3))
