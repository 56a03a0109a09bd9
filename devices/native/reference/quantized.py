"""Operators over uint8 values. Sums are made exactly (products of 8-bit numbers in float64) and kept modulo 2^32 as int32."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.native.ir import Quantization, Type
from devices.native.operators.quantized import (
    Dequantize,
    FlipSign,
    IntegerConv,
    IntegerDense,
    QAdd,
    QAveragePool,
    QConv,
    QDense,
    QMean,
    QMul,
    Quantize,
    RealConv,
    RealDense,
    Table,
)
from devices.native.reference.spatial import averages, channels_first, channels_last, convolve


def quantize(op: Quantize, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    shape = [-1 if axis == op.out.axis else 1 for axis in range(x.ndim)]
    return saturated(np.rint(x / np.array(op.out.scales, x.dtype).reshape(shape)) + np.array(op.out.zeros, x.dtype).reshape(shape))


def dequantize(op: Dequantize, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    told = types[0].quantization
    assert told is not None
    scales, zeros = np.array(told.scales, np.float32), np.array(told.zeros, np.int64)
    if told.axis is None:
        return np.asarray((x.astype(np.int64) - zeros[0]).astype(np.float32) * scales[0])
    shape = [-1 if axis == told.axis else 1 for axis in range(x.ndim)]
    return np.asarray((x.astype(np.int64) - zeros.reshape(shape)).astype(np.float32) * scales.reshape(shape))


def flip_sign(op: FlipSign, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    return (x.view(np.uint8) ^ np.uint8(0x80)).view(out.dtype)


def q_conv(op: QConv, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    q, weights, _ = _operands(types, 0)
    y = requantized(_convolved(op, types, out, x, weight, bias), output_scales(q, weights, op.out), op.out, op.low, op.high)
    return channels_first(y, out.layout)


def q_dense(op: QDense, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    q, weights, _ = _operands(types, 0)
    return requantized(_multiplied(types, x, weight, bias), output_scales(q, weights, op.out), op.out, op.low, op.high)


def real_conv(op: RealConv, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    q, weights, _ = _operands(types, 0)
    return channels_first(_convolved(op, types, out, x, weight, bias).astype(np.float32) * output_scales(q, weights), out.layout)


def real_dense(op: RealDense, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    q, weights, _ = _operands(types, 0)
    return np.asarray(_multiplied(types, x, weight, bias).astype(np.float32) * output_scales(q, weights))


def integer_conv(op: IntegerConv, types: Sequence[Type], out: Type, x: np.ndarray, zero: np.ndarray, weight: np.ndarray) -> np.ndarray:
    w = weight.astype(np.float64) - _along(_quantization(types[2]).zeros, 0, weight.ndim)
    sums = convolve(op.window, op.group, out.layout, x.astype(np.float64) - zero.item(), w)
    return channels_first(accumulated(sums, np.int32(0)), out.layout)


def integer_dense(op: IntegerDense, types: Sequence[Type], out: Type, x: np.ndarray, zero: np.ndarray, weight: np.ndarray) -> np.ndarray:
    w = weight.astype(np.float64) - _along(_quantization(types[2]).zeros, 1, 2)
    return accumulated((x.astype(np.float64) - zero.item()) @ w, np.int32(0))


def q_add(op: QAdd, types: Sequence[Type], out: Type, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    qa, qb = (_quantization(item) for item in types)
    ra, rb = qa.scale / op.out.scale, qb.scale / op.out.scale
    constant = np.float32(op.out.zero) - np.float32(_fused(ra, np.float32(qa.zero), rb * np.float32(qb.zero)))
    total = _fused(ra, a.astype(np.float32), _fused(rb, b.astype(np.float32), constant))
    return saturated(np.rint(total), op.low, op.high)


def q_mul(op: QMul, types: Sequence[Type], out: Type, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    qa, qb = (_quantization(item) for item in types)
    product = (a.astype(np.int32) - qa.zero) * (b.astype(np.int32) - qb.zero)
    return requantized(product, np.float32(qa.scale * qb.scale / op.out.scale), op.out)


def q_mean(op: QMean, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    told, axes = _quantization(types[0]), types[0].spatial_axes
    count = int(np.prod(types[0].spatial))
    sums = np.asarray(np.sum(x, axes, np.int64, keepdims=True) - told.zero * count)
    scale = told.scale / (op.out.scale * np.float32(count))
    return requantized(sums.astype(np.int32), scale, op.out)


def q_average_pool(op: QAveragePool, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    told = _quantization(types[0])
    real = (channels_last(x, out.layout).astype(np.int32) - told.zero).astype(np.float32) * told.scale
    means = averages(op.window, real, op.padding_counts, op.overhang)
    return channels_first(saturated(np.rint(means / op.out.scale) + op.out.zero), out.layout)


def table(op: Table, types: Sequence[Type], out: Type, x: np.ndarray, entries: np.ndarray) -> np.ndarray:
    return np.take(entries, x)


def accumulated(sums: np.ndarray, bias: np.ndarray | np.int32) -> np.ndarray:
    """Exact sums and a bias along the last axis, as int32 modulo 2^32."""
    return np.asarray(sums.astype(np.int64) + bias).astype(np.int32)


def output_scales(x: Quantization, weight: Quantization, out: Quantization | None = None) -> np.ndarray:
    """float32(scale_x * scale_w / scale_out), each step rounded to float32; without an output's scale of real results."""
    steps = x.scale * np.array(weight.scales, np.float32)
    return np.asarray(steps if out is None else steps / out.scale, np.float32)


def requantized(sums: np.ndarray, scale: np.ndarray | np.float32, out: Quantization, low: int = 0, high: int = 255) -> np.ndarray:
    """int32 sums -> uint8."""
    return saturated(np.rint(sums.astype(np.float32) * scale) + out.zero, low, high)


def saturated(values: np.ndarray, low: int = 0, high: int = 255) -> np.ndarray:
    """Whole numbers held as floats -> uint8 from low to high, what is no number as low."""
    return np.asarray(np.fmin(np.fmax(values, low), high)).astype(np.uint8)


def _convolved(
    op: QConv | RealConv, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:  # fmt: skip
    """The int32 sums of a convolution, channels last."""
    _, weights, zero = _operands(types, 0)
    w = weight.astype(np.float64) - _along(weights.zeros, 0, weight.ndim)
    return accumulated(convolve(op.window, op.group, out.layout, x.astype(np.float64) - zero, w), bias)


def _multiplied(types: Sequence[Type], x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The int32 sums of a product."""
    _, weights, zero = _operands(types, 0)
    return accumulated((x.astype(np.float64) - zero) @ (weight.astype(np.float64) - _along(weights.zeros, 1, 2)), bias)


def _operands(types: Sequence[Type], index: int) -> tuple[Quantization, Quantization, int]:
    x, weight = _quantization(types[index]), _quantization(types[index + 1])
    return x, weight, x.zero


def _quantization(told: Type) -> Quantization:
    assert told.quantization is not None
    return told.quantization


def _along(values: Sequence[int], axis: int, rank: int) -> np.ndarray:
    return np.array(values, np.float64).reshape([-1 if at == axis else 1 for at in range(rank)])


def _fused(a: np.ndarray | np.float32, b: np.ndarray | np.float32, c: np.ndarray | np.float32) -> np.ndarray:
    """float32(a * b + c) with one rounding: the product of an 8-bit number and a float32 is exact in float64."""
    return np.asarray(np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)
