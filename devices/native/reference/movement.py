"""Operators that only move elements."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.native.ir import Type
from devices.native.operators.movement import Broadcast, Concat, Gather, Pad, Slice, Tile, Transpose, View


def view(op: View, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    return x.reshape(op.shape)


def transpose(op: Transpose, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    return x.transpose(op.perm)


def concat(op: Concat, types: Sequence[Type], out: Type, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, op.axis)


def cut(op: Slice, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    for axis, start, step, count in zip(op.axes, op.starts, op.steps, op.counts, strict=True):
        x = np.take(x, start + step * np.arange(count), axis)
    return x


def pad(op: Pad, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    x = x[tuple(slice(max(0, -low), size - max(0, -high)) for size, low, high in zip(x.shape, op.before, op.after, strict=True))]
    widths = [(max(0, low), max(0, high)) for low, high in zip(op.before, op.after, strict=True)]
    if op.mode == "constant":
        return np.pad(x, widths, constant_values=x.dtype.type(op.value))
    return np.pad(x, widths, mode=op.mode)


def gather(op: Gather, types: Sequence[Type], out: Type, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """An index outside the axis picks the nearest element."""
    size = x.shape[op.axis]
    return np.take(x, np.clip(np.where(indices < 0, indices + size, indices), 0, max(size - 1, 0)), op.axis)


def broadcast(op: Broadcast, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, op.shape)


def tile(op: Tile, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    return np.tile(x, op.repeats)
