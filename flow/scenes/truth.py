"""Ground truth of a rendered frame."""

from __future__ import annotations

from dataclasses import dataclass

LABELS = ("fist", "open", "point", "victory", "thumb", "cat", "dog")
"""Class names by class id: of the truth, and of the detector that is trained on it."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where something is seen: `box` (x1, y1, x2, y2) in pixels, clipped to the picture.

    `difficult`, as in PASCAL VOC: neither a hit nor a miss counts. It is half hidden, half outside, turning round, or a hand between two
    gestures.
    """

    label: str
    box: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True, slots=True)
class Tip:
    """Where the tip of the pen is, in pixels, and whether it touches the paper."""

    x: float
    y: float
    down: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that is known of one frame."""

    boxes: tuple[Box, ...] = ()
    tip: Tip | None = None
