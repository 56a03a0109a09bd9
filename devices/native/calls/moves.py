"""Order of axes, copies, joining, cutting, softmax over rows."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import prod

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Call, Context, Part, Words, pixels, row_stride
from devices.native.kernels.layout import CHANNELS, round_up
from devices.native.lower import Operand, Step
from devices.native.passes.layout import to_first, to_last


def transpose(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Transpose)
    x, out, perm = step.inputs[0], step.output, step.op.perm
    size = np.dtype(x.type.dtype).itemsize
    if len(perm) < 3 or size not in (1, 4) or x.region == "constants":
        return None
    for form, order, first, last in (("nchw_to_nhwc", to_last(len(perm)), x, out), ("nhwc_to_nchw", to_first(len(perm)), out, x)):
        if perm == order and first.stride == first.type.shape[-1]:
            count = prod(first.type.shape[2:])
            words: Words = {"x": Part(x), "out": Part(out), "channels": first.type.shape[1], "pixels": count, "stride": row_stride(last)}
            return [Call(f"{form}_{size}", first.type.shape[0] * count, words)]
    return None


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
    strides = [row_stride(operand) if operand in padded else columns * size for operand in (x, out)]
    return [_copy(prod(x.type.shape) // columns, columns * size, (x, 0, strides[0]), (out, 0, strides[1]))]


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
    x, op = step.inputs[0], step.op
    if len(op.axes) != 1 or op.steps != (1,) or 0 in step.output.type.shape:
        return None
    call = _along(x, op.starts[0], step.output, 0, op.axes[0], op.counts[0], np.dtype(x.type.dtype).itemsize)
    return None if call is None else [call]


def softmax(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Softmax)
    x, out = step.inputs[0], step.output
    columns = out.type.shape[-1]
    if step.op.log or step.op.axis != out.type.rank - 1 or out.stride < round_up(columns, CHANNELS):
        return None
    words: Words = {"x": Part(x), "out": Part(out), "channels": columns, "stride_x": row_stride(x), "stride_out": row_stride(out)}
    return [Call("softmax_f32", pixels(out), words)]


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
