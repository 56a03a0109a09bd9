"""Second-order rounding: integers whose error at a layer's output is least, not whose error in each weight is.

A layer gives W x, so that weights W' leave the squared error (W' - W) H (W' - W)^T over its inputs, with H the mean of x x^T. Columns are
rounded one after another, and those that are left take up the error of each (Frantar et al. 2022, GPTQ, arXiv:2210.17323, after the optimal
brain surgeon of Hassibi and Stork 1993); then single integers are moved, one column after another, while that lowers the error (coordinate
descent, as in Behdin et al. 2023, QuantEase, arXiv:2309.01885). Limits on pairs of neighbours hold throughout: an integer moves only within
what its partners leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.quantize.weights import MOST, PAIR

DAMPING = 0.05
"""Part of the mean of H's diagonal that is added to it: what was seen seldom is not given away."""

BLOCK = 64
"""Columns after which what is left is brought up to date."""

SWEEPS = 2
"""Rounds of coordinate descent at most."""

Partners = Sequence[np.ndarray]
"""For each column those that it is summed with in 16 bits."""


def damped(gram: np.ndarray) -> np.ndarray:
    """H [..., columns, columns], float64, made positive definite."""
    found = np.array(gram, np.float64)
    diagonal = np.einsum("...ii->...i", found)
    mean = diagonal.mean(-1, keepdims=True)
    diagonal += DAMPING * mean + np.where(mean > 0, 0.0, 1.0)
    return found


def error_of(stored: np.ndarray, exact: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """The squared error at the output of each row, float64 [groups, rows], in steps of the row's scale."""
    difference = stored - exact
    return np.asarray(np.einsum("grk,grk->gr", difference @ gram, difference))


def nearest(exact: np.ndarray, partners: Partners) -> np.ndarray:
    """The nearest integers within the limits, one column after another, int64 of the shape of `exact`."""
    stored = np.zeros(exact.shape, np.int64)
    for at in range(exact.shape[2]):
        stored[:, :, at] = np.clip(np.rint(exact[:, :, at]), *_limits(stored, partners[at]))
    return stored


def rounded(exact: np.ndarray, gram: np.ndarray, upper: np.ndarray, partners: Partners) -> np.ndarray:
    """Integers for weights in steps of their scales, `exact` float64 [groups, rows, columns], with `gram` [groups, columns, columns].

    No row has a larger error than with the `nearest`. `gram` is positive definite (`damped`), `upper` its `factor`. Gives int64.
    """
    plain, found = nearest(exact, partners), compensated(exact, upper, partners)
    better = error_of(found, exact, gram) < error_of(plain, exact, gram)
    return np.where(better[..., None], found, plain)


def factor(gram: np.ndarray) -> np.ndarray:
    """The upper triangle U of U^T U, the inverse of `gram`."""
    return np.swapaxes(np.linalg.cholesky(np.linalg.inv(gram)), 1, 2)


def compensated(exact: np.ndarray, upper: np.ndarray, partners: Partners) -> np.ndarray:
    """Each column rounded, its error taken up by those behind it. `upper` is the `factor` of the gram."""
    columns = exact.shape[2]
    left, stored = exact.copy(), np.zeros(exact.shape, np.int64)
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        errors = np.zeros((*exact.shape[:2], end - start))
        for at in range(start, end):
            low, high = _limits(stored, partners[at])
            stored[:, :, at] = np.clip(np.rint(left[:, :, at]), low, high)
            error = (left[:, :, at] - stored[:, :, at]) / upper[:, at, at, None]
            left[:, :, at:end] -= error[:, :, None] * upper[:, None, at, at:end]
            errors[:, :, at - start] = error
        left[:, :, end:] -= errors @ upper[:, start:end, end:]
    return stored


def descended(stored: np.ndarray, exact: np.ndarray, gram: np.ndarray, partners: Partners) -> np.ndarray:
    """Moves single integers while that lowers the error."""
    stored = stored.copy()
    slope = (stored - exact) @ gram
    for _ in range(SWEEPS):
        moved = 0
        for at in range(exact.shape[2]):
            low, high = _limits(stored, partners[at])
            now = stored[:, :, at]
            wanted = np.clip(np.rint(now - slope[:, :, at] / gram[:, at, at, None]), low, high)
            group, row = np.nonzero(wanted != now)
            if not len(row):
                continue
            change = (wanted - now)[group, row]
            stored[group, row, at] = wanted[group, row]
            slope[group, row] += change[:, None] * gram[group, at]
            moved += len(row)
        if not moved:
            break
    return stored


def _limits(stored: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray | int, np.ndarray | int]:
    """What a column's integers may be beside those of its partners."""
    if not len(partners):
        return -MOST, MOST
    beside = stored[:, :, partners]
    return (
        np.maximum(-MOST, -PAIR - np.minimum(beside, 0).min(2)),
        np.minimum(MOST, PAIR - np.maximum(beside, 0).max(2)),
    )
