"""Linear assignment with a limit on the cost of a pair."""

from __future__ import annotations

import numpy as np


def assign(cost: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (rows, columns) of (n, m) costs that cost least in all, none above `limit`, as two int arrays, rows rising.

    By Jonker and Volgenant's algorithm (doi:10.1007/BF02278710).
    """
    if not cost.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    from lap import lapjv

    _, columns, _ = lapjv(np.ascontiguousarray(cost, np.float64), extend_cost=True, cost_limit=limit)
    columns = np.asarray(columns, np.intp)
    rows = np.flatnonzero(columns >= 0)
    return rows, columns[rows]
