# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Free slots of a pool, for its owner."""

from __future__ import annotations

import numpy as np

from devices.kernels import slots as at
from devices.kernels.source.memory import load_i32, load_i64, store_i32
from devices.kernels.source.rows import kernel
from devices.kernels.source.words import observe_short


@kernel
def free(pool):
    """The first slot that nobody holds, or NONE. Rows are read in the order in which holds move from one to the next."""
    holds, rows, width = load_i64(pool, at.HOLDS), load_i64(pool, at.ROWS), load_i64(pool, at.WIDTH)
    for slot in range(load_i64(pool, at.SLOTS)):
        row = np.int64(0)
        while row < rows and observe_short(holds, row * width + slot) == 0:
            row += 1
        if row == rows:
            return np.int64(slot)
    return np.int64(at.NONE)


@kernel
def acquire(pool):
    """The same, under a new generation and held once by the owner, whose row is the first."""
    slot = free(pool)
    if slot >= 0:
        generations = load_i64(pool, at.GENERATIONS)
        store_i32(generations, slot, np.int32(load_i32(generations, slot) + 1))
        store_i32(load_i64(pool, at.HOLDS), slot, np.int32(1))
    return slot
