from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Op, Quantization, Type
from devices.native.passes.activation import fuse_activation
from devices.native.passes.qdq import fuse_qdq
from devices.native.reference import run

random = np.random.default_rng(0)
IN, OUT = Quantization((0.03,), (120,)), Quantization((0.05,), (7,))


def pair(b: Builder, x: str, q: Quantization) -> str:
    return b.add(ops.Dequantize(), b.add(ops.Quantize(q), x))


def start(b: Builder, shape: tuple[int, ...] = (1, 4, 6, 6), name: str = "x") -> str:
    return pair(b, b.input(name, Type("float32", shape)), IN)


def kernel(b: Builder, shape: tuple[int, ...], axis: int) -> str:
    scales = tuple(float(np.float32(value)) for value in random.uniform(0.001, 0.02, shape[axis]))
    stored = b.constant(random.integers(-127, 128, shape).astype(np.int8), "w", Quantization(scales, (0,) * shape[axis], axis))
    return b.add(ops.Dequantize(), stored)


def convolution(b: Builder, *, group: int = 1, whole_bias: bool = True) -> str:
    x, weight = start(b), kernel(b, (8, 4 // group, 3, 3), 0)
    bias = random.integers(-900, 900, 8).astype(np.int32)
    told = b.types[b.nodes[-1].inputs[0]].quantization
    assert told is not None
    steps = tuple(float(np.float32(IN.scale) * np.float32(scale)) for scale in told.scales)
    if whole_bias:
        real = b.add(ops.Dequantize(), b.constant(bias, "b", Quantization(steps, (0,) * 8, 0)))
    else:
        real = b.constant((bias * np.array(steps)).astype(np.float32))
    return b.add(ops.Conv(ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1)), group), x, weight, real)


def stored_difference(before: Graph, after: Graph, feed: Callable[..., dict[str, np.ndarray]]) -> int:
    """The largest difference in steps of the output."""
    inputs = feed(before)
    one, two = run(before, inputs)["y"], run(after, inputs)["y"]
    return int(np.abs(np.rint((one - two) / OUT.scale)).max())


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("whole_bias", [True, False])
@pytest.mark.parametrize("activation", [None, ops.Unary("relu"), ops.Unary("clip", (0.0, 6.0))])
def test_convolutions(group: int, whole_bias: bool, activation: ops.Unary | None, feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = convolution(b, group=group, whole_bias=whole_bias)
    y = pair(b, b.add(activation, y) if activation else y, OUT)
    graph = fuse_activation(b.graph([("y", y)]))
    fused = fuse_qdq(graph)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.QConv, ops.Dequantize]
    assert stored_difference(graph, fused, feed) <= 1
    conv = fused.nodes[1].op
    assert isinstance(conv, ops.QConv)
    bounds = {"relu": (7, 255), "clip": (7, 127)}
    assert (conv.low, conv.high) == (bounds[activation.kind] if activation else (0, 255))


def test_products(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x, weight = start(b, (3, 20)), kernel(b, (20, 5), 1)
    y = b.add(ops.Dense(), x, weight, b.constant(np.ones(5, np.float32)))
    graph = b.graph([("y", pair(b, y, OUT))])
    fused = fuse_qdq(graph)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.QDense, ops.Dequantize]
    assert stored_difference(graph, fused, feed) <= 1


@pytest.mark.parametrize(("op", "form"), [(ops.Binary("add"), ops.QAdd), (ops.Binary("mul"), ops.QMul)])
def test_sums_and_products_of_two(op: Op, form: type[Op], feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = b.add(op, start(b), start(b, (4, 1, 1), "other"))
    graph = b.graph([("y", pair(b, y, OUT))])
    fused = fuse_qdq(graph)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.Quantize, form, ops.Dequantize]
    assert stored_difference(graph, fused, feed) <= 1


def test_a_sum_keeps_to_its_activation(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = b.add(ops.Unary("relu"), b.add(ops.Binary("add"), start(b), start(b, name="other")))
    graph = b.graph([("y", pair(b, y, OUT))])
    fused = fuse_qdq(graph)
    assert fused.nodes[2].op == ops.QAdd(OUT, 7, 255)
    assert stored_difference(graph, fused, feed) <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_constant_side(dtype: type, feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    low = np.iinfo(dtype).min
    constant = b.constant(random.integers(low, low + 256, (4, 1, 1)).astype(dtype), "c", Quantization((0.02,), (low + 100,)))
    graph = b.graph([("y", pair(b, b.add(ops.Binary("add"), start(b), b.add(ops.Dequantize(), constant)), OUT))])
    fused = fuse_qdq(graph)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.QAdd, ops.Dequantize]
    assert stored_difference(graph, fused, feed) <= 1


POOL = ops.Window((2, 2), (2, 2), (0,) * 4, (1, 1))


@pytest.mark.parametrize(("op", "form"), [(ops.Reduce("mean", (2, 3)), ops.QMean), (ops.AveragePool(POOL), ops.QAveragePool)])
def test_means(op: Op, form: type[Op], feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    graph = b.graph([("y", pair(b, b.add(op, start(b)), OUT))])
    fused = fuse_qdq(graph)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, form, ops.Dequantize]
    assert stored_difference(graph, fused, feed) <= 1


MOVERS = [
    ops.View((4, 36)), ops.Transpose((0, 2, 3, 1)), ops.Slice((2,), (1,), (2,), (2,)), ops.MaxPool(POOL), ops.Tile((1, 2, 1, 1)),
    ops.Resize((2, 3), (12, 12), (2.0, 2.0)),
]  # fmt: skip


@pytest.mark.parametrize("out", [IN, OUT])
@pytest.mark.parametrize("op", MOVERS, ids=lambda op: type(op).__name__)
def test_movement_is_exact(op: Op, out: Quantization, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    fused = before_and_after(b.graph([("y", pair(b, b.add(op, start(b)), out))]), fuse_qdq, 0.0)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, type(op), *([ops.Table] if out != IN else []), ops.Dequantize]


def test_joining_is_exact(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = b.add(ops.Concat(1), start(b), start(b, name="other"))
    fused = before_and_after(b.graph([("y", pair(b, y, IN))]), fuse_qdq, 0.0)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.Quantize, ops.Concat, ops.Dequantize]


@pytest.mark.parametrize("op", [ops.Unary("sigmoid"), ops.Unary("hardswish"), ops.Unary("leakyrelu", (0.1,)), ops.Unary("relu")])
def test_functions_are_tables(op: ops.Unary, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    fused = before_and_after(b.graph([("y", pair(b, b.add(op, start(b)), OUT))]), fuse_qdq, 0.0)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.Table, ops.Dequantize]


def test_a_pair_alone(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    fused = before_and_after(b.graph([("y", pair(b, start(b), IN)), ("z", pair(b, start(b, name="other"), OUT))]), fuse_qdq, 0.0)
    assert [type(node.op) for node in fused.nodes].count(ops.Quantize) == 2
    assert [type(node.op) for node in fused.nodes].count(ops.Table) == 1


def test_what_has_no_quantized_form_stays_real(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = convolution(b)
    softmax = pair(b, b.add(ops.Softmax(1), pair(b, y, OUT)), OUT)
    graph = b.graph([("y", softmax), ("raw", y)])
    fused = before_and_after(graph, fuse_qdq, 0.0)
    assert len(fused.nodes) == len(graph.nodes)
