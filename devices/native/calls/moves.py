"""Order of axes, copies, joining, cutting, picking, repeating."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import prod

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Call, Context, Part, Words, pixels, row_stride
from devices.native.calls.strided import Axis, byte_strides, moved
from devices.native.kernels.layout import PICTURE
from devices.native.lower import Operand, Step
from devices.native.passes.layout import to_first, to_last

MOST = 16
"""Indices that a gather may have."""


def transpose(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Transpose)
    x, out, perm = step.inputs[0], step.output, step.op.perm
    size = np.dtype(x.type.dtype).itemsize
    if x.region == "constants" or 0 in out.type.shape:
        return None
    if len(perm) > 2 and size in (1, 4):
        for form, order, first, last in (("nchw_to_nhwc", to_last(len(perm)), x, out), ("nhwc_to_nchw", to_first(len(perm)), out, x)):
            if perm == order and first.stride == first.type.shape[-1]:
                count = prod(first.type.shape[2:])
                if x.type.dtype == "float32" and out.stride == PICTURE != out.type.shape[-1]:
                    words: Words = {"x": Part(x), "out": Part(out), "channels": first.type.shape[1], "pixels": count}
                    return [Call("picture_f32", first.type.shape[0], words)]
                words = {"x": Part(x), "out": Part(out), "channels": first.type.shape[1], "pixels": count, "stride": row_stride(last)}
                return [Call(f"{form}_{size}", first.type.shape[0] * count, words)]
    given, wanted = byte_strides(x), byte_strides(out)
    calls = moved(x, out, [Axis(out.type.shape[axis], given[source], wanted[axis]) for axis, source in enumerate(perm)])
    return None if calls is None else [*_cleared(out), *calls]


def view(context: Context, step: Step) -> list[Call] | None:
    """A copy into rows of another length, or out of them."""
    x, out = step.inputs[0], step.output
    padded = [operand for operand in (x, out) if operand.type.rank and operand.stride != operand.type.shape[-1]]
    if x.region == "constants" or 0 in x.type.shape:
        return None
    size = np.dtype(x.type.dtype).itemsize
    if not padded:
        return [_copy(1, prod(x.type.shape) * size, (x, 0, 0), (out, 0, 0))]
    if len(padded) == 2 and x.type.shape[-1] != out.type.shape[-1]:
        return None
    columns = padded[0].type.shape[-1]
    if out.stride == PICTURE and padded == [out] and size in (1, 4):
        return [Call(f"widen_{size}", prod(x.type.shape) // columns, {"x": Part(x), "out": Part(out), "channels": columns})]
    strides = [row_stride(operand) if operand in padded else columns * size for operand in (x, out)]
    return [*_cleared(out), _copy(prod(x.type.shape) // columns, columns * size, (x, 0, strides[0]), (out, 0, strides[1]))]


def concat(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Concat)
    out, axis = step.output, step.op.axis
    if any(0 in operand.type.shape for operand in step.inputs):
        return None
    size, calls, start = np.dtype(out.type.dtype).itemsize, [], 0
    for part in step.inputs:
        calls.append(_along(part, 0, out, start, axis, part.type.shape[axis], size))
        start += part.type.shape[axis]
    return None if any(call is None for call in calls) else [call for call in calls if call is not None]


def cut(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Slice)
    x, out, op = step.inputs[0], step.output, step.op
    if 0 in out.type.shape or x.region == "constants":
        return None
    if len(op.axes) == 1 and op.steps == (1,):
        call = _along(x, op.starts[0], out, 0, op.axes[0], op.counts[0], np.dtype(x.type.dtype).itemsize)
        if call is not None:
            return [call]
    given, wanted = byte_strides(x), byte_strides(out)
    start = sum(first * given[axis] for axis, first in zip(op.axes, op.starts, strict=True))
    for axis, step_ in zip(op.axes, op.steps, strict=True):
        given[axis] *= step_
    return moved(x, out, list(map(Axis, out.type.shape, given, wanted)), start)


def gather(context: Context, step: Step) -> list[Call] | None:
    """One call an index: models pick few."""
    assert isinstance(step.op, ops.Gather)
    (x, indices), out, axis = step.inputs, step.output, step.op.axis
    if indices.region != "constants" or x.region == "constants" or 0 in out.type.shape or prod(indices.type.shape) > MOST:
        return None
    picked = context.constant(indices)
    given, wanted = byte_strides(x), byte_strides(out)
    before, after = wanted[:axis], wanted[axis + picked.ndim :]
    calls: list[Call] = []
    for place in np.ndindex(picked.shape):
        index = int(picked[place])
        index += x.type.shape[axis] if index < 0 else 0
        if not 0 <= index < x.type.shape[axis]:
            return None
        into = sum(at * stride for at, stride in zip(place, wanted[axis:], strict=False))
        sizes = [*x.type.shape[:axis], *x.type.shape[axis + 1 :]]
        steps = [*given[:axis], *given[axis + 1 :]]
        made = moved(x, out, list(map(Axis, sizes, steps, [*before, *after])), index * given[axis], into)
        if made is None:
            return None
        calls += made
    return calls


def broadcast(context: Context, step: Step) -> list[Call] | None:
    x, out = step.inputs[0], step.output
    if x.region == "constants" or 0 in out.type.shape:
        return None
    missing = out.type.rank - x.type.rank
    given = [0] * missing + [stride if size > 1 else 0 for stride, size in zip(byte_strides(x), x.type.shape, strict=True)]
    return moved(x, out, list(map(Axis, out.type.shape, given, byte_strides(out))))


def pad_channels(step: Step) -> list[Call] | None:
    """Constants before or after along the last axis."""
    assert isinstance(step.op, ops.Pad)
    x, out, op = step.inputs[0], step.output, step.op
    size, before, after = np.dtype(x.type.dtype).itemsize, op.before[-1], op.after[-1]
    if op.mode != "constant" or any((*op.before[:-1], *op.after[:-1])) or min(before, after) < 0 or 0 in x.type.shape:
        return None
    rows, columns = prod(x.type.shape[:-1]), x.type.shape[-1]
    calls = [_copy(rows, columns * size, (x, 0, row_stride(x)), (out, before * size, row_stride(out)))]
    for count, at in ((before, 0), (after, before + columns)):
        if count:
            fill: Words = {"x": np.full(count, op.value, x.type.dtype), "out": Part(out, at * size), "bytes": count * size}
            calls.append(Call("copy", rows, {**fill, "stride_x": 0, "stride_out": row_stride(out)}))
    return calls


def _cleared(out: Operand) -> list[Call]:
    """Zeros for all of a picture that has channels to spare: convolutions read those."""
    if out.stride != PICTURE or out.type.shape[-1] == PICTURE:
        return []
    zeros = np.zeros(PICTURE, out.type.dtype)
    words: Words = {"x": zeros, "out": Part(out), "bytes": zeros.nbytes, "stride_x": 0, "stride_out": zeros.nbytes}
    return [Call("copy", pixels(out), words)]


def _along(x: Operand, first: int, out: Operand, start: int, axis: int, count: int, size: int) -> Call | None:
    """Copies `count` elements along an axis, from `first` of one to `start` of the other."""
    outer, inner = prod(out.type.shape[:axis]), out.type.shape[axis + 1 :]
    if not inner:
        return _copy(outer, count * size, (x, first * size, row_stride(x)), (out, start * size, row_stride(out)))
    block = prod(inner[:-1]) * row_stride(out)
    if row_stride(x) != row_stride(out):
        if outer != 1:
            return None
        lines = prod(inner[:-1])
        into = (out, start * block, row_stride(out))
        return _copy(count * lines, inner[-1] * size, (x, first * lines * row_stride(x), row_stride(x)), into)
    return _copy(outer, count * block, (x, first * block, x.type.shape[axis] * block), (out, start * block, out.type.shape[axis] * block))


def _copy(rows: int, count: int, source: tuple[Operand, int, int], target: tuple[Operand, int, int]) -> Call:
    words: Words = {
        "x": Part(*source[:2]), "out": Part(*target[:2]), "bytes": count, "stride_x": source[2], "stride_out": target[2],
    }  # fmt: skip
    return Call("copy", rows, words)
