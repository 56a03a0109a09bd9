"""Elements between two operands, axis by axis with strides of their own: one call for all that only changes where elements lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from devices.native.calls.call import Call, Part
from devices.native.lower import Operand

AXES, MOST = 4, 64
"""Axes that the kernel goes over, and calls for axes beyond those."""


@dataclass(frozen=True, slots=True)
class Axis:
    """`count` elements, `x` and `out` bytes apart."""

    count: int
    x: int
    out: int


def byte_strides(operand: Operand) -> list[int]:
    """Bytes from one index of each axis to the next, as the operand lies in memory."""
    shape, size = operand.type.shape, np.dtype(operand.type.dtype).itemsize
    lines = [operand.stride * size * prod(shape[axis + 1 : -1]) for axis in range(len(shape) - 1)]
    return [*lines, size] if shape else []


def moved(x: Operand, out: Operand, axes: Sequence[Axis], start: int = 0, into: int = 0) -> list[Call] | None:
    """The calls for axes in the order of the output, from `start` bytes of `x` to `into` of the output; None where they are too many."""
    size = np.dtype(x.type.dtype).itemsize
    if size == 8:  # two halves each
        size, axes = 4, [*axes, Axis(2, 4, 4)]
    merged: list[Axis] = []
    for axis in axes:
        last = merged[-1] if merged else None
        if axis.count == 1:
            continue
        if last and (last.x, last.out) == (axis.x * axis.count, axis.out * axis.count):
            merged[-1] = Axis(last.count * axis.count, axis.x, axis.out)
        else:
            merged.append(axis)
    outer, merged = merged[:-AXES], merged[-AXES:]
    if prod(axis.count for axis in outer) > MOST:
        return None
    inner = merged.pop() if merged else Axis(1, size, size)
    merged = [*merged, *[Axis(1, 0, 0)] * (AXES - 1 - len(merged)), inner]
    words = {f"count_{number}": axis.count for number, axis in enumerate(merged) if number}
    words |= {f"stride_x_{number}": axis.x for number, axis in enumerate(merged)}
    words |= {f"stride_out_{number}": axis.out for number, axis in enumerate(merged)}
    calls = []
    for place in np.ndindex(*(axis.count for axis in outer)):
        source, target = (first + sum(at * step for at, step in zip(place, steps, strict=True)) for first, steps in (
            (start, [axis.x for axis in outer]), (into, [axis.out for axis in outer]),
        ))  # fmt: skip
        calls.append(Call(f"move_{size}", merged[0].count, {"x": Part(x), "out": Part(out, target), "start": source, **words}))
    return calls
