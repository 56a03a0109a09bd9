"""Where samples come from: what kind of map a matrix is, quarter turns, and the taps of upright scaling as OpenCV computes them."""

from __future__ import annotations

import numpy as np

Matrix = np.ndarray
"""float64 (2, 3): output pixel -> stored source pixel, continuous coordinates (pixel i covers [i, i+1))."""

NEAR = 1e-6
"""Sizes and corners this close to whole numbers (in output pixels) are whole: a matrix product rounds a little."""


SMALLEST = 1e-6
"""Source pixels for one output pixel below which a map counts as general: nothing is to be seen of it."""


def upright(matrix: Matrix) -> bool:
    """Whether the picture is only scaled and moved."""
    return bool(matrix[0, 1] == 0 and matrix[1, 0] == 0 and matrix[0, 0] > SMALLEST and matrix[1, 1] > SMALLEST)


def quarter(matrix: Matrix, width: int, height: int) -> tuple[Matrix, tuple[int, int], Matrix] | None:
    """Splits a map by quarter turns or mirrors: the turn (upright picture -> stored one of width x height), the size of the upright
    picture, and the upright map that is left (output -> upright picture). None where there is no such turn, or only scaling.
    """
    turn = np.zeros((2, 3))
    turn[:, :2] = np.sign(matrix[:, :2])
    straight, crossed = (int(np.count_nonzero(part)) for part in (matrix[[0, 1], [0, 1]], matrix[[0, 1], [1, 0]]))
    if upright(matrix) or (straight, crossed) not in ((2, 0), (0, 2)) or np.abs(matrix[:, :2]).max(axis=1).min() <= SMALLEST:
        return None
    turn[:, 2] = [size if row.sum() < 0 else 0 for size, row in zip((width, height), turn, strict=True)]
    back = turn[:, :2].T
    rest = np.column_stack([back @ matrix[:, :2], back @ (matrix[:, 2] - turn[:, 2])])
    return turn, (height, width) if crossed else (width, height), rest


def taps(first: int, end: int, scale: float, offset: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of output places first..end along one axis of `size` samples: the whole part of each sample position and the float32 rest.

    The arithmetic is that of cv2.resize: the scale is the inverse of whole sizes' quotient, and positions are rounded to float32. A place
    is counted from the corner of the scaled picture, also where the output is a part of that picture or lies inside a larger one.
    """
    corner, scaled = offset / scale, size / scale
    if abs(scaled - np.rint(scaled)) < NEAR and np.rint(scaled) > 0:
        scale = 1.0 / (np.rint(scaled) / size)
    if abs(corner - np.rint(corner)) < NEAR:
        corner = np.rint(corner)
    exact = ((np.arange(first, end) + corner + 0.5) * scale - 0.5).astype(np.float32)
    whole = np.floor(exact)
    return whole.astype(np.int64), exact - whole


def columns(whole: np.ndarray, rest: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left sample, its weight and that of the one to its right, in 11 bits. Both samples exist, unless there is but one."""
    rest = np.where((whole < 0) | (whole >= size - 1), np.float32(0), rest)
    before, after = weights(rest)
    last = whole >= size - 1
    if size > 1:
        before, after = np.where(last, after, before), np.where(last, before, after)
    return np.clip(whole, 0, max(size - 2, 0)).astype(np.int32), before, after


def rows(whole: np.ndarray, rest: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Upper and lower sample and their weights in 11 bits. Beyond an edge both are the last row, each with its own weight, as in OpenCV."""
    last = size - 1
    return np.clip(whole, 0, last).astype(np.int32), np.clip(whole + 1, 0, last).astype(np.int32), *weights(rest)


def weights(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int32 weights of the sample before and the one after, rounded half to even."""
    one, unit = np.float32(1), np.float32(2048)
    return np.rint((one - rest) * unit).astype(np.int32), np.rint(rest * unit).astype(np.int32)
