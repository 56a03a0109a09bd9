"""Functions of single elements: curves, sums and products of two, tables, quantization."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import inf, prod

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Buffer, Call, Context, Part, Words, flat, padded, row_stride, spans
from devices.native.ir import Quantization
from devices.native.kernels import pack
from devices.native.kernels.catalogue import TWO
from devices.native.kernels.layout import CHANNELS
from devices.native.lower import Operand, Step

CURVES = {
    "sigmoid": "sigmoid_f32", "tanh": "tanh_f32", "silu": "silu_f32", "hardswish": "hard_swish_f32", "exp": "exp_f32", "sqrt": "sqrt_f32",
    "erf": "erf_f32",
}  # fmt: skip


def bounds(activation: ops.Unary | None) -> tuple[float, float] | None:
    """The range that an activation keeps to; None where it is none of a range."""
    if activation is None:
        return -inf, inf
    if activation.kind == "relu":
        return 0.0, inf
    return (activation.parameters[0], activation.parameters[1]) if activation.kind == "clip" else None


def curve(op: ops.Unary) -> tuple[str, dict[str, float]] | None:
    """The kernel of a function, and its parameters."""
    if (limits := bounds(op)) is not None:
        return "clamp_f32", {"low": float(limits[0]), "high": float(limits[1])}
    if op.kind == "gelu" and op.parameters == (0.0,):
        return "gelu_f32", {}
    if op.kind == "leakyrelu":
        return "leaky_relu_f32", {"low": float(op.parameters[0])}
    if op.kind == "hardsigmoid":
        return "hard_sigmoid_f32", {"low": float(op.parameters[0]), "high": float(op.parameters[1])}
    return (CURVES[op.kind], {}) if op.kind in CURVES else None


def unary(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Unary)
    found = curve(step.op) if step.output.type.dtype == "float32" else None
    return None if found is None else _one(step, found[0], **found[1])


def binary(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Binary)
    if step.op.kind not in TWO or step.output.type.dtype != "float32":
        return None
    return _two(context, step, f"{step.op.kind}_f32", low=-inf, high=inf)


def q_add(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.QAdd)
    a, b = (quantization(operand) for operand in step.inputs)
    words = pack.addition(*((float(q.scale), q.zero) for q in (a, b, step.op.out)))
    return _two(context, step, "add_u8", **words, low=step.op.low, high=step.op.high)


def q_mul(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.QMul)
    a, b = (quantization(operand) for operand in step.inputs)
    scale = float(np.float32(a.scale * b.scale / step.op.out.scale))
    numbers = {"zero_a": float(a.zero), "zero_b": float(b.zero), "zero": step.op.out.zero, "low": 0, "high": 255}
    return _two(context, step, "mul_u8", scale=scale, **numbers)


def table(context: Context, step: Step) -> list[Call] | None:
    entries = np.ascontiguousarray(context.constant(step.inputs[1]))
    return _one(Step(step.op, step.inputs[:1], step.output), "table_u8", table=entries)


def quantize(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Quantize)
    out = step.op.out
    return None if out.axis is not None else _one(step, "quantize", scale=float(out.scale), zero=out.zero, low=0, high=255)


def dequantize(context: Context, step: Step) -> list[Call] | None:
    given = quantization(step.inputs[0])
    if step.inputs[0].type.dtype != "uint8" or given.axis is not None:
        return None
    return _one(step, "dequantize", scale=float(given.scale), zero=float(given.zero))


def quantization(operand: Operand) -> Quantization:
    """The quantization of an operand that has one."""
    assert operand.type.quantization is not None
    return operand.type.quantization


def _one(step: Step, kernel: str, **words: Buffer | int | float) -> list[Call] | None:
    x, out = step.inputs[0], step.output
    strides = {"stride_x": row_stride(x), "stride_out": row_stride(out)}
    return [
        Call(kernel, over.rows, {"x": _from(x, over.start), "out": _from(out, over.start), "channels": over.channels, **strides, **words})
        for over in spans(step)
    ] or None


def _two(context: Context, step: Step, kernel: str, **words: float) -> list[Call] | None:
    found, out = spans(step), step.output
    if not found:
        return _with_number(context, step, kernel, **words)
    calls = []
    for over in found:
        given: Words = {}
        for name, operand in zip("ab", step.inputs, strict=True):
            if operand.type.shape == out.type.shape:
                given |= {name: _from(operand, over.start), f"stride_{name}": row_stride(operand)}
            elif over.channels < out.type.shape[-1] or (pixel := _pixel(context, operand, out)) is None:
                return None
            else:
                given |= {name: pixel, f"stride_{name}": 0}
        given |= {"out": _from(out, over.start), "channels": over.channels, "stride_out": row_stride(out)}
        calls.append(Call(kernel, over.rows, {**given, **words}))
    return calls


def _with_number(context: Context, step: Step, kernel: str, **words: float) -> list[Call] | None:
    """Elements without gaps and one constant number: as if each sixteen of them were a pixel."""
    (x, number), out = step.inputs, step.output
    compact = all(bool(operand.type.rank) and operand.stride == operand.type.shape[-1] for operand in (x, out))
    if number.region != "constants" or prod(number.type.shape) != 1 or x.type.shape != out.type.shape or not compact or 0 in x.type.shape:
        return None
    step_bytes = CHANNELS * np.dtype(x.type.dtype).itemsize
    same = np.full(CHANNELS, context.constant(number).reshape(-1)[0])
    given: Words = {"b": same, "channels": CHANNELS, "stride_a": step_bytes, "stride_b": 0, "stride_out": step_bytes, **words}
    return [
        Call(kernel, over.channels // CHANNELS, {"a": _from(x, over.start), "out": _from(out, over.start), **given}) for over in flat(step)
    ] or None


def _from(operand: Operand, element: int) -> Part:
    return Part(operand, element * np.dtype(operand.type.dtype).itemsize)


def _pixel(context: Context, operand: Operand, out: Operand) -> Buffer:
    """An operand that is the same at all pixels, or None where it is not."""
    shape, columns = operand.type.shape, out.type.shape[-1]
    if any(size != 1 for size in shape[:-1]) or (shape and shape[-1] not in (1, columns)):
        return None
    if operand.region == "constants":
        return padded(np.ascontiguousarray(np.broadcast_to(context.constant(operand).reshape(-1), columns)))
    return Part(operand) if shape and shape[-1] == columns else None
