"""Bytes seen as arrays whose rows may lie apart. Imports nothing but NumPy, for it is there when a program runs."""

from __future__ import annotations

from math import prod
from typing import Protocol

import numpy as np

ALIGNMENT = 64
"""Where each value begins: at a multiple of it."""
SLACK = 256
"""Bytes after the arena, the caller's inputs as they are held, and the data of a program that a kernel may read (never write)."""


class Shaped(Protocol):
    """What is asked of a type here."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def aligned(nbytes: int) -> int:
    """Bytes rounded up to the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def aligned_bytes(count: int) -> np.ndarray:
    """Zeroed bytes that begin at a multiple of the alignment, with SLACK behind them."""
    held = np.zeros(count + SLACK + ALIGNMENT, np.uint8)
    start = -held.__array_interface__["data"][0] % ALIGNMENT
    return held[start : start + count + SLACK]


def row_bytes(told: Shaped, stride: int) -> int:
    """Bytes that a value takes with rows (along its last axis) `stride` elements apart."""
    if not prod(told.shape):
        return 0
    return (prod(told.shape[:-1]) * stride if told.shape else 1) * np.dtype(told.dtype).itemsize


def viewed(memory: np.ndarray, offset: int, told: Shaped, stride: int | None = None) -> np.ndarray:
    """The bytes from an offset on as an array of this type, with rows `stride` elements apart (None: without gaps)."""
    columns = told.shape[-1] if told.shape else 1
    nbytes = prod(told.shape) * np.dtype(told.dtype).itemsize
    if stride in (None, columns) or not nbytes:
        return memory[offset : offset + nbytes].view(told.dtype).reshape(told.shape)
    assert stride is not None
    rows = memory[offset : offset + row_bytes(told, stride)].view(told.dtype)
    return rows.reshape(*told.shape[:-1], stride)[..., :columns]
