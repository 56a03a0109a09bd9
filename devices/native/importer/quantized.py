"""Quantized operators. int8 activations become uint8 (128 added to value and zero point), weights become int8."""

# Each public function reads the ONNX operators that `table.py` names it for, as ONNX defines them.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source, Unsupported, axis_of
from devices.native.importer.spatial import pool_window, window_of
from devices.native.ir import GraphError, Quantization, Type
from devices.native.reference import evaluate


def quantize(b: Builder, node: Source) -> str:
    x = node.input(0)
    if node.integer("block_size", 0):
        raise node.unsupported("block_size")
    zero = node.optional(2)
    if zero is None and node.integer("output_dtype", 2) != 2:
        raise node.unsupported(f"output_dtype={node.integer('output_dtype', 2)}")
    if node.integer("precision", 0) not in (0, 1):
        raise node.unsupported(f"precision={node.integer('precision', 0)}")
    axis = None if b.known(node.input(1), "scales").size == 1 else axis_of(node.integer("axis", 1), b.types[x].rank)
    result = b.add(ops.Quantize(activation(b, node, node.input(1), zero, axis=axis)), x)
    return mark(b, result, zero)


def dequantize(b: Builder, node: Source) -> str:
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    if node.integer("block_size", 0):
        raise node.unsupported("block_size")
    if node.integer("output_dtype", 1) not in (0, 1):
        raise node.unsupported(f"output_dtype={node.integer('output_dtype', 1)}")
    told = b.types[x]
    if told.dtype not in ("uint8", "int8", "int32"):
        raise Unsupported(f"{node.name} of {told.dtype}", f"expected uint8, int8 or int32, got {told}")
    scales = b.known(scale, "scales")
    axis = None if scales.size == 1 else axis_of(node.integer("axis", 1), told.rank)
    quantization = quantization_of(b, scale, zero, axis=axis)
    if x in b.shifted:
        quantization = replace(quantization, zeros=tuple(each + 128 for each in quantization.zeros))
    elif told.dtype == "int8" and x not in b.constants:
        return b.add(ops.Dequantize(), b.add(ops.FlipSign(), b.quantized(x, quantization)))
    return b.add(ops.Dequantize(), b.quantized(x, quantization))


def dynamic_quantize(b: Builder, node: Source) -> list[str]:
    """The three results of DynamicQuantizeLinear: values, scale and zero point, over the range of the input with 0 in it."""
    x = node.input(0)
    axes, nothing = tuple(range(b.types[x].rank)), b.scalar(0)
    low = b.add(ops.Binary("min"), b.add(ops.Reduce("min", axes, keep=False), x), nothing)
    high = b.add(ops.Binary("max"), b.add(ops.Reduce("max", axes, keep=False), x), nothing)
    span = b.add(ops.Binary("div"), b.add(ops.Binary("sub"), high, low), b.scalar(255))
    scale = b.add(ops.Where(), b.add(ops.Binary("greater"), span, nothing), span, b.scalar(1))
    byte = ops.Unary("clip", (0.0, 255.0))
    zero = b.add(byte, b.add(ops.Unary("round"), b.add(ops.Binary("sub"), nothing, b.add(ops.Binary("div"), low, scale))))
    steps = b.add(ops.Unary("round"), b.add(ops.Binary("div"), x, scale))
    values = b.add(byte, b.add(ops.Binary("add"), steps, zero))
    return [b.add(ops.Cast("uint8"), values), scale, b.add(ops.Cast("uint8"), zero)]


def conv_integer(b: Builder, node: Source) -> str:
    x, zero = _with_zero(b, node)
    weight = _whole_weight(b, node, 0)
    window = window_of(node, b.types[x].spatial, node.integers("kernel_shape", b.types[weight].shape[2:]))
    return b.add(ops.IntegerConv(window, node.integer("group", 1)), x, zero, weight)


def matmul_integer(b: Builder, node: Source) -> str:
    if b.types[node.input(1)].rank != 2:
        raise node.unsupported("with a weight that is no matrix")
    x, zero = _with_zero(b, node)
    return b.add(ops.IntegerDense(), x, zero, _whole_weight(b, node, 1))


def _with_zero(b: Builder, node: Source) -> tuple[str, str]:
    """An activation and its zero point as uint8, neither known before the model runs."""
    x = node.input(0)
    zero = node.optional(2) or b.constant(np.zeros((), b.types[x].dtype), "zero")
    if b.types[zero].shape not in ((), (1,)):
        raise node.unsupported("with a zero point for each row")
    if b.types[x].dtype == "int8":
        return b.add(ops.FlipSign(), x), b.add(ops.FlipSign(), zero)
    return x, zero


def _whole_weight(b: Builder, node: Source, axis: int) -> str:
    """A constant weight as int8, its zero points on the type, its scale 1."""
    one = b.constant(np.ones((), np.float32), "one")
    return weights(b, node.input(1), one, node.optional(3) or b.constant(np.zeros((), b.types[node.input(1)].dtype), "zero"), axis)


def q_conv(b: Builder, node: Source) -> str:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (node.input(index) for index in range(8))
    source = operand(b, node, x, x_scale, x_zero)
    weight = weights(b, w, w_scale, w_zero, 0)
    told = b.types[weight]
    bias = node.optional(8) or b.constant(np.zeros(told.shape[0], np.int32), "no bias")
    window = window_of(node, b.types[source].spatial, node.integers("kernel_shape", told.shape[2:]))
    op = ops.QConv(window, activation(b, node, y_scale, y_zero), node.integer("group", 1))
    return mark(b, b.add(op, source, weight, bias), y_zero)


def q_matmul(b: Builder, node: Source) -> str:
    left, left_scale, left_zero, right, right_scale, right_zero, y_scale, y_zero = (node.input(index) for index in range(8))
    out = activation(b, node, y_scale, y_zero)
    source = operand(b, node, left, left_scale, left_zero)
    if right in b.constants and b.types[right].rank == 2:
        weight = weights(b, right, right_scale, right_zero, 1)
        result = b.add(ops.QDense(out), source, weight, b.constant(np.zeros(b.types[weight].shape[1], np.int32), "no bias"))
    else:
        other = operand(b, node, right, right_scale, right_zero)
        product = b.add(ops.MatMul(), b.add(ops.Dequantize(), source), b.add(ops.Dequantize(), other))
        result = b.add(ops.Quantize(out), product)
    return mark(b, result, y_zero)


def q_gemm(b: Builder, node: Source) -> str:
    left, left_scale, left_zero, right, right_scale, right_zero = (node.input(index) for index in range(6))
    if node.optional(7) is None:
        raise node.unsupported("without an output scale")
    if node.real("alpha", 1.0) != 1 or node.integer("transA", 0):
        raise node.unsupported("alpha or transA")
    source = operand(b, node, left, left_scale, left_zero)
    turned = bool(node.integer("transB", 0))
    weight = weights(b, right, right_scale, right_zero, 0 if turned else 1)
    weight = b.add(ops.Transpose((1, 0)), weight) if turned else weight
    bias = node.optional(6) or b.constant(np.zeros(b.types[weight].shape[1], np.int32), "no bias")
    if b.types[bias].rank == 2 and b.types[bias].shape[0] == 1:
        bias = b.add(ops.View(b.types[bias].shape[1:]), bias)
    op = ops.QDense(activation(b, node, node.input(7), node.optional(8)))
    return mark(b, b.add(op, source, weight, bias), node.optional(8))


def q_add(b: Builder, node: Source) -> str:
    left = operand(b, node, *(node.input(index) for index in range(3)))
    right = operand(b, node, *(node.input(index) for index in range(3, 6)))
    out = activation(b, node, node.input(6), node.optional(7))
    return mark(b, b.add(ops.QAdd(out) if node.operator == "QLinearAdd" else ops.QMul(out), left, right), node.optional(7))


def q_mean(b: Builder, node: Source) -> str:
    if node.integer("channels_last", 0):
        raise node.unsupported("channels_last=1")
    x = operand(b, node, *(node.input(index) for index in range(3)))
    return mark(b, b.add(ops.QMean(activation(b, node, node.input(3), node.optional(4))), x), node.optional(4))


def q_average_pool(b: Builder, node: Source) -> str:
    if node.integer("channels_last", 0):
        raise node.unsupported("channels_last=1")
    x = operand(b, node, *(node.input(index) for index in range(3)))
    window, overhang = pool_window(node, b.types[x].spatial)
    op = ops.QAveragePool(
        window, activation(b, node, node.input(3), node.optional(4)), bool(node.integer("count_include_pad", 0)), overhang
    )
    return mark(b, b.add(op, x), node.optional(4))


def q_unary(b: Builder, node: Source) -> str:
    x = operand(b, node, *(node.input(index) for index in range(3)))
    function = ops.Unary("sigmoid") if node.operator == "QLinearSigmoid" else ops.Unary("leakyrelu", (node.real("alpha", 0.01),))
    out = activation(b, node, node.input(3), node.optional(4))
    return mark(b, looked_up(b, x, out, lambda real: evaluate(function, [real], real, [_all(b, x)])), node.optional(4))


def q_concat(b: Builder, node: Source) -> str:
    out = activation(b, node, node.input(0), node.input(1))
    parts = [operand(b, node, *(node.input(at + offset) for offset in range(3))) for at in range(2, len(node.inputs), 3)]
    axis = axis_of(node.integer("axis", 0), b.types[parts[0]].rank)
    same = [part if b.types[part].quantization == out else looked_up(b, part, out, lambda real, x=part: _all(b, x)) for part in parts]  # type: ignore[misc]
    return mark(b, b.add(ops.Concat(axis), *same) if len(same) > 1 else same[0], node.input(1))


def looked_up(b: Builder, x: str, out: Quantization, function: Callable[[Type], np.ndarray]) -> str:
    """A table from each value of x to the quantized result of a function over the 256 real ones."""
    real = Type("float32", (256,))
    quantizing = ops.Quantize(out)
    entries = evaluate(quantizing, [real], quantizing.infer(real), [function(real)])
    return b.add(ops.Table(out), x, b.constant(entries, "table"))


def _all(b: Builder, x: str) -> np.ndarray:
    """The 256 real values that x can have."""
    told = Type("uint8", (256,), quantization=b.types[x].quantization)
    return evaluate(ops.Dequantize(), [told], Type("float32", (256,)), [np.arange(256, dtype=np.uint8)])


def operand(b: Builder, node: Source, x: str, scale: str, zero: str) -> str:
    """An activation as uint8 with its quantization on the type."""
    told = b.types[x]
    quantization = quantization_of(b, scale, zero)
    if x in b.shifted:
        return b.quantized(x, replace(quantization, zeros=(quantization.zero + 128,)))
    if told.dtype == "int8":
        return b.add(ops.FlipSign(), b.quantized(x, quantization))
    if told.dtype != "uint8":
        raise Unsupported(f"{node.name} of {told.dtype}", f"expected uint8 or int8, got {told}")
    return b.quantized(x, quantization)


def weights(b: Builder, name: str, scale: str, zero: str, axis: int) -> str:
    """Constant weights as int8 with their quantization on the type."""
    b.known(name, "weights")
    told = b.types[name]
    if told.dtype not in ("uint8", "int8"):
        raise GraphError(f"expected a weight of uint8 or int8, got {told}")
    single = b.known(scale, "scales").size == 1 and b.known(zero, "zero points").size == 1
    quantized = b.quantized(name, quantization_of(b, scale, zero, axis=None if single else axis, length=told.shape[axis]))
    return quantized if told.dtype == "int8" else b.add(ops.FlipSign(), quantized)


def activation(b: Builder, node: Source, scale: str, zero: str | None, *, axis: int | None = None) -> Quantization:
    """The quantization of an output, as uint8."""
    found = quantization_of(b, scale, zero, axis=axis)
    dtype = "uint8" if zero is None else b.types[zero].dtype
    if dtype not in ("uint8", "int8"):
        raise Unsupported(f"{node.name} to {dtype}", f"expected a zero point of uint8 or int8, got {dtype}")
    return found if dtype == "uint8" else replace(found, zeros=tuple(each + 128 for each in found.zeros))


def mark(b: Builder, result: str, zero: str | None) -> str:
    """Notes a result that stands for an int8 value of the file."""
    if zero is not None and b.types[zero].dtype == "int8":
        b.shifted.add(result)
    return result


def quantization_of(b: Builder, scale: str, zero: str | None, *, axis: int | None = None, length: int = 1) -> Quantization:
    """The quantization that a scale and a zero point give, one each or one for each index of an axis. Raises GraphError."""
    scales = b.known(scale, "scales").ravel()
    zeros = np.zeros(1, np.int32) if zero is None else b.known(zero, "zero points").ravel()
    if scales.dtype != np.float32 or zeros.dtype.kind not in "iu":
        raise GraphError(f"expected a float32 scale and a whole zero point, got {scales.dtype.name} and {zeros.dtype.name}")
    count = max(scales.size, zeros.size, length if axis is not None else 1)
    if axis is None and count != 1:
        raise GraphError(f"expected one scale and one zero point, got {scales.size} and {zeros.size}")
    if not {scales.size, zeros.size} <= {1, count}:
        raise GraphError(f"expected as many zero points as scales, got {zeros.size} and {scales.size}")
    return Quantization(
        tuple(float(value) for value in np.broadcast_to(scales, count)), tuple(int(value) for value in np.broadcast_to(zeros, count)), axis
    )
