"""Geometry of boxes (x1, y1, x2, y2) and of points, vectorised, in float64."""

from __future__ import annotations

from typing import Literal

import numpy as np

Point = tuple[float, float]
"""x, y in a configuration."""

Anchor = Literal["bottom", "center", "top"]
"""Which point stands for a box: the middle of its lower edge (where feet are), its centre, the middle of its upper edge."""


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of (n, 4) with (m, 4) boxes: (n, m) in 0..1. Boxes without an area overlap nothing."""
    left, top, right, bottom = np.ascontiguousarray(np.asarray(one, np.float64).T)[:, :, None]
    left_, top_, right_, bottom_ = np.ascontiguousarray(np.asarray(other, np.float64).T)
    shared = np.maximum(np.minimum(right, right_) - np.maximum(left, left_), 0.0)
    shared *= np.maximum(np.minimum(bottom, bottom_) - np.maximum(top, top_), 0.0)
    union = np.maximum(right - left, 0.0) * np.maximum(bottom - top, 0.0) + areas(np.asarray(other, np.float64)) - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of (..., 4) boxes; 0 where a side is not positive."""
    return np.asarray(np.maximum(boxes[..., 2] - boxes[..., 0], 0.0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0.0))


def anchors(boxes: np.ndarray, anchor: Anchor) -> np.ndarray:
    """The point (n, 2) that stands for each of (n, 4) boxes."""
    points = np.empty((len(boxes), 2))
    points[:, 0] = (boxes[:, 0] + boxes[:, 2]) / 2
    match anchor:
        case "bottom":
            points[:, 1] = boxes[:, 3]
        case "center":
            points[:, 1] = (boxes[:, 1] + boxes[:, 3]) / 2
        case "top":
            points[:, 1] = boxes[:, 1]
    return points


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of (n, 2) points lie in the polygon (k, 2), by the even-odd rule; a point on an edge may count either way."""
    x, y = points[:, 0, None], points[:, 1, None]
    x1, y1 = polygon[:, 0], polygon[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    crosses = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_of = x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
    return np.asarray((crosses & left_of).sum(1) % 2 == 1)
