"""Functions of whole rows: softmax, layer norm, where the largest element is."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import prod

from devices.native import operators as ops
from devices.native.calls.call import Buffer, Call, Context, Part, Words, pixels, row_stride
from devices.native.lower import Operand, Step


def softmax(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Softmax)
    if step.op.log or step.op.axis != step.output.type.rank - 1:
        return None
    return _rows("softmax_f32", step.inputs[0], step.output)


def layer_norm(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.LayerNorm)
    x, scale, bias = step.inputs
    if step.op.axis != x.type.rank - 1 or scale.region != "constants" or bias.region != "constants":
        return None
    given: Words = {"scale": context.constant(scale), "bias": context.constant(bias), "epsilon": float(step.op.epsilon)}
    return _rows("layer_norm_f32", x, step.output, **given)


def arg(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Arg)
    x, out, op = step.inputs[0], step.output, step.op
    if op.kind != "max" or op.last or op.axis != x.type.rank - 1 or x.type.dtype != "float32":
        return None
    # One number a row, which must follow one another.
    gaps = out.type.rank and out.stride != out.type.shape[-1] and prod(out.type.shape[:-1]) != 1
    return None if gaps else _rows("arg_max_f32", x, out, stride_out=8)


def _rows(kernel: str, x: Operand, out: Operand, **words: Buffer | int | float) -> list[Call] | None:
    if 0 in x.type.shape or x.region == "constants":
        return None
    given: Words = {"x": Part(x), "out": Part(out), "channels": x.type.shape[-1], "stride_x": row_stride(x), "stride_out": row_stride(out)}
    return [Call(kernel, pixels(x), {**given, **words})]
