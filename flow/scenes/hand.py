"""A modelled hand: poses as joints, sprites of each pose and of the way between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flow.scenes.clay import Clay, Colour, mix
from flow.scenes.sprite import Sprite

GESTURES = ("fist", "open", "point", "victory", "thumb")

CUFF = 0.74
"""Where the sleeve begins, in units below the middle of the palm."""

Joints = np.ndarray
"""float (24, 3): wrist, heel, two of the palm, then four joints each of thumb, index, middle, ring, little finger; palm 1 unit wide."""

SKINS: tuple[Colour, ...] = ((246, 205, 178), (233, 184, 148), (214, 160, 120), (181, 124, 84), (139, 90, 60), (98, 62, 44))
SLEEVES: tuple[Colour, ...] = ((62, 98, 160), (190, 72, 66), (70, 132, 104), (226, 178, 74), (94, 84, 128), (60, 66, 76), (214, 214, 206))

_PALM = ((0.02, 1.1, 0.0), (0.03, 0.34, 0.02), (-0.2, -0.12, 0.0), (0.2, -0.1, 0.0))
_SIDE = ((-0.36, 1.1, 0.0), (-0.26, 0.3, 0.02), (-0.06, -0.08, 0.0), (-0.02, 0.2, 0.0))
_BASES = ((-0.345, -0.34), (-0.118, -0.4), (0.112, -0.38), (0.325, -0.28))
_LENGTHS = (0.8, 0.9, 0.84, 0.64)
_FAN = (-13.0, -3.0, 6.0, 17.0)
_RADII = ((0.135, 0.125, 0.112, 0.098), (0.138, 0.128, 0.115, 0.1), (0.132, 0.122, 0.11, 0.096), (0.115, 0.106, 0.096, 0.086))
_THUMB = (0.2, 0.155, 0.13, 0.108)


def _straight(finger: int, turn: float = 0.0) -> list[tuple[float, float, float]]:
    x, y = _BASES[finger]
    angle = np.radians(_FAN[finger] + turn)
    return [(x + _LENGTHS[finger] * s * np.sin(angle), y - _LENGTHS[finger] * s * np.cos(angle), 0.02) for s in (0, 0.44, 0.74, 1.0)]


def _folded(finger: int) -> list[tuple[float, float, float]]:
    x, y = _BASES[finger]
    x *= 0.93
    return [(x, y + 0.02, 0.0), (x, y - 0.06, 0.22), (x * 0.98, y + 0.2, 0.3), (x * 0.94, y + 0.33, 0.22)]


def _stacked(finger: int) -> list[tuple[float, float, float]]:
    y = (-0.26, -0.03, 0.2, 0.4)[finger]
    front = (0.36, 0.4, 0.38, 0.31)[finger]
    return [(front - 0.12, y, 0.0), (front, y + 0.01, 0.12), (front - 0.26, y + 0.03, 0.3), (front - 0.44, y + 0.03, 0.22)]


_THUMB_OUT = [(-0.24, 0.3, 0.04), (-0.48, 0.06, 0.08), (-0.68, -0.14, 0.1), (-0.82, -0.34, 0.1)]
_THUMB_IN = [(-0.22, 0.28, 0.1), (-0.4, 0.02, 0.22), (-0.2, -0.04, 0.42), (0.04, -0.0, 0.46)]
_THUMB_TUCKED = [(-0.22, 0.28, 0.1), (-0.38, 0.04, 0.22), (-0.14, 0.02, 0.42), (0.12, 0.02, 0.46)]
_THUMB_UP = [(-0.2, 0.1, 0.06), (-0.22, -0.28, 0.14), (-0.2, -0.6, 0.14), (-0.14, -0.88, 0.12)]


def _pose(palm: Sequence[object], thumb: Sequence[object], *fingers: Sequence[object]) -> Joints:
    return np.array([*palm, *thumb, *(joint for finger in fingers for joint in finger)], np.float64)


POSES: Mapping[str, Joints] = {
    "fist": _pose(_PALM, _THUMB_IN, *(_folded(i) for i in range(4))),
    "open": _pose(_PALM, _THUMB_OUT, *(_straight(i) for i in range(4))),
    "point": _pose(_PALM, _THUMB_IN, _straight(0, 9), *(_folded(i) for i in range(1, 4))),
    "victory": _pose(_PALM, _THUMB_TUCKED, _straight(0, -6), _straight(1, 9), _folded(2), _folded(3)),
    "thumb": _pose(_SIDE, _THUMB_UP, *(_stacked(i) for i in range(4))),
}


@dataclass(frozen=True, slots=True)
class Hand:
    """One person's hand: skin and sleeve colour, how plump the fingers are, and pixels a unit of its sprites."""

    skin: Colour
    sleeve: Colour
    plump: float
    density: float

    @classmethod
    def draw_from(cls, rng: np.random.Generator, density: float) -> Hand:
        """A hand of a random person."""
        step = rng.uniform(0, len(SKINS) - 1)
        skin = mix(SKINS[int(step)], SKINS[int(step) + 1], step % 1)
        return cls(skin, SLEEVES[rng.integers(len(SLEEVES))], float(rng.uniform(0.92, 1.12)), density)


@lru_cache(maxsize=64)
def hand_sprite(hand: Hand, gesture: str, towards: str = "", share: float = 0.0) -> Sprite:
    """The hand in a pose (or `share` of the way `towards` another), held at the middle of its palm, fingers up, thumb to the left."""
    joints = POSES[gesture]
    if towards:
        joints = joints + (POSES[towards] - joints) * share
    clay = Clay(left=-1.2, top=-1.55, right=0.9, bottom=CUFF, density=hand.density)
    skin = hand.skin
    warm = mix(skin, (226, 96, 84), 0.22)
    wrist, heel, left, right = joints[:4]
    thumb, fingers = joints[4:8], joints[8:].reshape(4, 4, 3)
    clay.limb(wrist, heel, 0.25, 0.3, skin)
    middle = (heel + left + right) / 3
    clay.ball((middle[0], middle[1] - 0.02, -0.12), (0.46, 0.47, 0.26), skin, blend=0.08)
    clay.limb(left, right, 0.26, 0.24, skin, blend=0.1)
    clay.ball((heel[0] + 0.17, heel[1] - 0.12, 0.0), (0.2, 0.3, 0.2), mix(skin, warm, 0.4), blend=0.08)
    for finger, radii in zip(fingers, _RADII, strict=True):
        clay.chain(finger.tolist(), [r * hand.plump for r in radii], skin, blend=0.015, gloss=0.14)
    for finger, radii in zip(fingers, _RADII, strict=True):
        _finger_paint(clay, finger, radii[-1] * hand.plump, skin, warm)
    clay.chain(thumb.tolist(), [r * hand.plump for r in _THUMB], skin, blend=0.03, gloss=0.14)
    clay.ball((*thumb[0][:2], 0.04), (0.2, 0.24, 0.2), mix(skin, warm, 0.4), blend=0.1)
    _finger_paint(clay, thumb, _THUMB[-1] * hand.plump, skin, warm)
    return clay.finish(tint=(0.6, 0.42, 0.4), folds=0.62)


@lru_cache(maxsize=16)
def sleeve_sprite(hand: Hand) -> Sprite:
    """Cuff and sleeve, held where they begin, reaching down."""
    clay = Clay(left=-0.6, top=-0.2, right=0.6, bottom=4.2, density=hand.density)
    clay.limb((0, 0.3, 0), (0, 4.4, 0), 0.34, 0.56, hand.sleeve, gloss=0.02)
    clay.limb((-0.26, 0.1, 0.4), (0.26, 0.1, 0.4), 0.13, 0.13, mix(hand.sleeve, (255, 255, 255), 0.18), gloss=0.02)
    return clay.finish(folds=0.4)


def wrist_of(gesture: str, towards: str = "", share: float = 0.0) -> tuple[float, float]:
    """Where the sleeve's origin lies, in the hand's units."""
    x = POSES[gesture][0, 0]
    if towards:
        x += (POSES[towards][0, 0] - x) * share
    return float(x), CUFF


def _finger_paint(clay: Clay, finger: np.ndarray, radius: float, skin: Colour, warm: Colour) -> None:
    """Warm finger tips, and a nail where the tip is bent towards the palm, so that its back is seen."""
    tip, before = finger[-1], finger[-2]
    clay.spot(tip, (radius * 1.1, radius * 1.1), warm, strength=0.45, soft=0.8)
    bent = float(np.clip((before[2] - 0.15) / 0.1, 0, 1))
    if bent > 0:
        along = tip - before
        angle = float(np.degrees(np.arctan2(along[1], along[0])))
        at = tip + along * 0.05
        clay.spot(at, (radius * 0.62, radius * 0.5), mix(skin, (255, 226, 220), 0.6), angle=angle, strength=0.85 * bent, soft=0.2)
