"""Operators that move bytes and compute nothing, as copies through the local memory."""

from __future__ import annotations

from math import prod

import numpy as np

from devices.native.ir import Op, Type
from devices.native.operators import Broadcast, Concat, Pad, Resize, Slice, Tile, Transpose
from devices.native.reference.spatial import samples
from devices.vpu.emitter import Emitter, Place, Refusal
from devices.vpu.strided import copy, fill, row_steps


def transpose(e: Emitter, op: Transpose, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    steps = row_steps(types[0].shape)
    copy(e, places[0], y, out.shape, [steps[axis] for axis in op.perm], row_steps(out.shape))


def concat(e: Emitter, op: Concat, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    steps, at = row_steps(out.shape), 0
    for told, place in zip(types, places, strict=True):
        copy(e, place, y.at(at * steps[op.axis]), told.shape, row_steps(told.shape), steps)
        at += told.shape[op.axis]


def cut(e: Emitter, op: Slice, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    steps, first = list(row_steps(types[0].shape)), 0
    for axis, start, step in zip(op.axes, op.starts, op.steps, strict=True):
        first += start * steps[axis]
        steps[axis] *= step
    copy(e, places[0].at(first), y, out.shape, steps, row_steps(out.shape))


def pad(e: Emitter, op: Pad, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    if op.mode != "constant" or min(*op.before, *op.after) < 0:
        raise Refusal(f"expected padding with one value, got mode {op.mode} with {op.before} and {op.after}")
    steps = row_steps(out.shape)
    fill(e, y, prod(out.shape), int(op.value) & 0xFF)
    first = sum(count * step for count, step in zip(op.before, steps, strict=True))
    copy(e, places[0], y.at(first), types[0].shape, row_steps(types[0].shape), steps)


def broadcast(e: Emitter, op: Broadcast, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    copy(e, places[0], y, out.shape, broadcast_steps(types[0].shape, out.shape), row_steps(out.shape))


def tile(e: Emitter, op: Tile, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    x = types[0].shape
    steps = row_steps(x)
    shape = [size for pair in zip(op.repeats, x, strict=True) for size in pair]
    copy(e, places[0], y, shape, [step for each in steps for step in (0, each)], row_steps(shape))


def resize(e: Emitter, op: Resize, types: tuple[Type, ...], out: Type, places: tuple[Place, ...], y: Place) -> None:
    if op.mode != "nearest":
        raise Refusal(f"expected mode nearest, got {op.mode}")
    x = types[0]
    steps = list(row_steps(x.shape))
    shape: list[int] = []
    reads: list[int] = []
    first = 0
    for axis, size in enumerate(out.shape):
        if axis not in op.axes:
            shape.append(size)
            reads.append(steps[axis])
            continue
        index = samples(op, x.shape[axis], size, op.scales[op.axes.index(axis)])[0][0]
        times, step = _regular(index)
        first += int(index[0]) * steps[axis]
        shape += [size // times, times]
        reads += [steps[axis] * step, 0]
    copy(e, places[0].at(first), y, shape, reads, row_steps(shape))


def broadcast_steps(shape: tuple[int, ...], wanted: tuple[int, ...]) -> list[int]:
    """Steps with which a value is read as one of another shape, as numpy.broadcast_to does."""
    steps = row_steps(shape)
    added = len(wanted) - len(shape)
    return [0] * added + [step if size != 1 else 0 for size, step in zip(shape, steps, strict=True)]


def _regular(index: np.ndarray) -> tuple[int, int]:
    """Indices as runs of equal length, a step apart: how long, and how far. Raises Refusal for others."""
    size = len(index)
    times = int(np.argmax(index != index[0])) or size
    runs = index[::times]
    step = int(runs[1] - runs[0]) if len(runs) > 1 else 0
    if size % times or not np.array_equal(index, np.repeat(index[0] + step * np.arange(size // times), times)):
        raise Refusal(f"expected a whole factor between {int(index.max()) + 1} and {size}, got other steps")
    return times, step


MOVES: dict[type[Op], object] = {
    Transpose: transpose, Concat: concat, Slice: cut, Pad: pad, Broadcast: broadcast, Tile: tile, Resize: resize,
}  # fmt: skip
