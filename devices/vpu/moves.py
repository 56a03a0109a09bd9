"""Operators that move bytes and compute nothing, as copies through the local memory."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from devices.native.ir import Op
from devices.native.operators import Broadcast, Concat, Pad, Resize, Slice, Tile, Transpose
from devices.native.reference.spatial import samples
from devices.vpu.emitter import Emitter, Refusal, Step
from devices.vpu.strided import copy, fill, row_steps


def transpose(e: Emitter, step: Step) -> None:
    steps = row_steps(step.types[0].shape)
    copy(e, step.places[0], step.y, step.out.shape, [steps[axis] for axis in step.op.perm], row_steps(step.out.shape))


def concat(e: Emitter, step: Step) -> None:
    steps, at = row_steps(step.out.shape), 0
    for told, place in zip(step.types, step.places, strict=True):
        copy(e, place, step.y.at(at * steps[step.op.axis]), told.shape, row_steps(told.shape), steps)
        at += told.shape[step.op.axis]


def cut(e: Emitter, step: Step) -> None:
    steps, first = list(row_steps(step.types[0].shape)), 0
    for axis, start, stride in zip(step.op.axes, step.op.starts, step.op.steps, strict=True):
        first += start * steps[axis]
        steps[axis] *= stride
    copy(e, step.places[0].at(first), step.y, step.out.shape, steps, row_steps(step.out.shape))


def pad(e: Emitter, step: Step) -> None:
    if step.op.mode != "constant" or min(*step.op.before, *step.op.after) < 0:
        raise Refusal(f"expected padding with one value, got mode {step.op.mode} with {step.op.before} and {step.op.after}")
    steps = row_steps(step.out.shape)
    fill(e, step.y, prod(step.out.shape), int(step.op.value) & 0xFF)
    first = sum(count * each for count, each in zip(step.op.before, steps, strict=True))
    copy(e, step.places[0], step.y.at(first), step.types[0].shape, row_steps(step.types[0].shape), steps)


def broadcast(e: Emitter, step: Step) -> None:
    copy(e, step.places[0], step.y, step.out.shape, broadcast_steps(step.types[0].shape, step.out.shape), row_steps(step.out.shape))


def tile(e: Emitter, step: Step) -> None:
    x = step.types[0].shape
    steps = row_steps(x)
    shape = [size for pair in zip(step.op.repeats, x, strict=True) for size in pair]
    copy(e, step.places[0], step.y, shape, [inner for each in steps for inner in (0, each)], row_steps(shape))


def resize(e: Emitter, step: Step) -> None:
    if step.op.mode != "nearest":
        raise Refusal(f"expected mode nearest, got {step.op.mode}")
    x = step.types[0]
    steps = list(row_steps(x.shape))
    shape: list[int] = []
    reads: list[int] = []
    first = 0
    for axis, size in enumerate(step.out.shape):
        if axis not in step.op.axes:
            shape.append(size)
            reads.append(steps[axis])
            continue
        index = samples(step.op, x.shape[axis], size, step.op.scales[step.op.axes.index(axis)])[0][0]
        times, stride = _regular(index)
        first += int(index[0]) * steps[axis]
        shape += [size // times, times]
        reads += [steps[axis] * stride, 0]
    copy(e, step.places[0].at(first), step.y, shape, reads, row_steps(shape))


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


MOVES: Mapping[type[Op], Callable[[Emitter, Step], None]] = {
    Transpose: transpose, Concat: concat, Slice: cut, Pad: pad, Broadcast: broadcast, Tile: tile, Resize: resize,
}  # fmt: skip
