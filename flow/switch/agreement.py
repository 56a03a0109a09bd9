"""How far two results of one frame agree, from 0 (nothing in common) to 1.

Detections, landmarks and points are paired, nearest first, and the agreement is the F1 score of the pairs: 2 · pairs / (ours + theirs).
Two boxes pair at an intersection over union of 0.5 (the PASCAL VOC criterion) with the same label; landmarks of the same handedness at a
mean distance of 5 % of their extent; points at 8 pixels. Classes agree where the best one is the same, events where all are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LEAST_IOU = 0.5
MOST_DISTANCE = 0.05
MOST_PIXELS = 8.0

Record = Mapping[str, Any]


def agreement(ours: Record, theirs: Record) -> float:
    """Of two rows of results. Rows of different kinds do not agree at all."""
    for kind, compare in KINDS.items():
        if kind in ours:
            return compare(ours[kind], theirs[kind]) if kind in theirs else 0.0
    return 0.0


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)


def distance(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Mean distance of points to those of the same place, in parts of the diagonal of the box around the first."""
    if len(one) != len(other) or not one:
        return math.inf
    extent = math.dist([min(axis) for axis in _axes(one)], [max(axis) for axis in _axes(one)])
    mean = sum(math.dist(left[:2], right[:2]) for left, right in zip(one, other, strict=True)) / len(one)
    return mean / extent if extent else (0.0 if mean == 0 else math.inf)


def _axes(points: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[point[axis] for point in points] for axis in (0, 1)]


def _paired(ours: Sequence[Record], theirs: Sequence[Record], cost: Callable[[Record, Record], float], most: float) -> float:
    """F1 of pairs of at most this cost, the cheapest first."""
    if not ours and not theirs:
        return 1.0
    costs = [(cost(one, other), i, j) for i, one in enumerate(ours) for j, other in enumerate(theirs)]
    left: set[int] = set()
    right: set[int] = set()
    for each, i, j in sorted(costs):
        if each <= most and i not in left and j not in right:
            left.add(i)
            right.add(j)
    return 2 * len(left) / (len(ours) + len(theirs))


def _detections(ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    def cost(one: Record, other: Record) -> float:
        return 1 - overlap(one["box"], other["box"]) if one["label"] == other["label"] else math.inf

    return _paired(ours, theirs, _safely(cost), 1 - LEAST_IOU)


def _landmarks(ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    def cost(one: Record, other: Record) -> float:
        return distance(one["points"], other["points"]) if one["handedness"] == other["handedness"] else math.inf

    return _paired(ours, theirs, _safely(cost), MOST_DISTANCE)


def _points(ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    return _paired(ours, theirs, _safely(lambda one, other: math.dist(one["point"], other["point"])), MOST_PIXELS)


def _safely(cost: Callable[[Record, Record], float]) -> Callable[[Record, Record], float]:
    """Numbers that were not finite stand as null in a row: nothing pairs with them."""

    def checked(one: Record, other: Record) -> float:
        try:
            found = cost(one, other)
        except TypeError:
            return math.inf
        return math.inf if math.isnan(found) else found

    return checked


def _classes(ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    def best(records: Sequence[Record]) -> str | None:
        return max(records, key=lambda one: one["score"] or 0.0)["label"] if records else None

    return float(best(ours) == best(theirs))


def _events(ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    def said(records: Sequence[Record]) -> list[tuple[str, Any]]:
        return sorted(((one["event"], one["value"]) for one in records), key=repr)

    return float(said(ours) == said(theirs))


KINDS: Mapping[str, Callable[[Sequence[Record], Sequence[Record]], float]] = {
    "detections": _detections, "landmarks": _landmarks, "points": _points, "classes": _classes, "event": _events,
}  # fmt: skip
