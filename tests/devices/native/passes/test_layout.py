from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Op, Quantization, Type
from devices.native.passes.layout import to_nhwc
from devices.native.passes.views import merge_views

random = np.random.default_rng(0)
IMAGE = Type("float32", (1, 4, 6, 8))


def conv(b: Builder, x: str, group: int = 1, outs: int = 4) -> str:
    ins = b.types[x].shape[1]
    weight = random.standard_normal((outs, ins // group, 3, 3)).astype(np.float32)
    return b.add(
        ops.Conv(ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1)), group), x, b.constant(weight), b.constant(np.ones(outs, np.float32))
    )


def kinds(graph: Graph) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in graph.nodes)


def channels_last(graph: Graph) -> bool:
    images = (ops.Conv, ops.QConv, ops.MaxPool, ops.AveragePool, ops.ConvTranspose)
    return all(graph.types[node.output].layout == "nhwc" for node in graph.nodes if isinstance(node.op, images))


def test_order_changes_at_the_ends_only(before_and_after: Callable[..., Graph]) -> None:
    """Convolutions with everything between them that works in any order."""
    b = Builder()
    x = conv(b, b.input("x", IMAGE))
    y = b.add(ops.Unary("relu"), b.add(ops.Binary("add"), x, b.constant(np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1))))
    y = b.add(ops.Pad((0, 1, 1, 0), (0, 0, 0, 2)), y)
    y = b.add(ops.Slice((1, 3), (1, 0), (1, 1), (4, 8)), y)
    y = b.add(ops.Concat(1), conv(b, b.add(ops.Slice((2,), (0,), (1,), (6,)), y)), x)
    y = b.add(ops.Binary("mul"), y, b.add(ops.Unary("sigmoid"), b.add(ops.Reduce("mean", (2, 3)), y)))
    y = b.add(ops.Resize((2, 3), (12, 16), (2.0, 2.0), "linear"), b.add(ops.MaxPool(ops.Window((2, 2), (1, 1), (0, 0, 1, 1), (1, 1))), y))
    graph = before_and_after(b.graph([("y", b.add(ops.Softmax(1), y))]), to_nhwc)
    assert channels_last(graph)
    assert kinds(graph)["Transpose"] == 2


def test_an_input_and_output_that_are_channels_last_cost_nothing(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.add(ops.Transpose((0, 3, 1, 2)), b.input("x", Type("float32", (1, 6, 8, 4))))
    y = b.add(ops.Transpose((0, 2, 3, 1)), conv(b, x))
    graph = merge_views(before_and_after(b.graph([("y", b.add(ops.View((48, 4)), y))]), to_nhwc))
    assert kinds(graph) == {"Conv": 1, "View": 2}


def test_pictures_of_one_pixel_cost_nothing(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    pooled = b.add(ops.Reduce("mean", (2, 3)), conv(b, b.input("x", Type("float32", (1, 6, 8, 4)))))
    graph = before_and_after(b.graph([("y", b.add(ops.View((1, 4)), pooled))]), to_nhwc)
    assert kinds(graph)["Transpose"] == 1


def test_a_reduction_that_drops_its_axes(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = b.add(ops.Reduce("mean", (2, 3), keep=False), conv(b, b.input("x", IMAGE)))
    assert kinds(before_and_after(b.graph([("y", y)]), to_nhwc))["Transpose"] == 1


def test_a_reduction_to_other_axes_sees_the_old_order(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = b.add(ops.Reduce("max", (1,), keep=False), conv(b, b.input("x", IMAGE)))
    before_and_after(b.graph([("y", y)]), to_nhwc)


@pytest.mark.parametrize("op", [ops.View((1, 32, 6)), ops.Transpose((3, 1, 0, 2)), ops.Transpose((2, 3, 1, 0)), ops.Gather(1)])
def test_operators_that_know_one_order_only(op: Op, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = conv(b, b.input("x", IMAGE))
    picked = [b.constant(np.array([2, 0], np.int64))] if isinstance(op, ops.Gather) else []
    before_and_after(b.graph([("y", b.add(op, y, *picked)), ("raw", y)]), to_nhwc)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (8,), (6, 1), (4, 1, 1), (1, 4, 1, 1), (1, 1, 6, 8)])
@pytest.mark.parametrize("known", [False, True])
def test_what_is_broadcast_follows(shape: tuple[int, ...], known: bool, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = conv(b, b.input("x", IMAGE))
    other = b.constant(random.standard_normal(shape).astype(np.float32)) if known else b.input("other", Type("float32", shape))
    graph = before_and_after(b.graph([("y", conv(b, b.add(ops.Binary("sub"), x, other)))]), to_nhwc)
    assert channels_last(graph)


def test_weights_that_are_computed(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x, weight = b.input("x", IMAGE), b.input("w", Type("float32", (4, 4, 3, 3)))
    op = ops.Conv(ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1)))
    before_and_after(b.graph([("y", b.add(op, x, weight, b.constant(np.ones(4, np.float32))))]), to_nhwc)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lines_pictures_and_volumes(rank: int, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (2, 4, *range(6, 6 + rank))))
    window = ops.Window((3,) * rank, (2,) * rank, (1,) * (2 * rank), (1,) * rank)
    weight = random.standard_normal((6, 2, *(3,) * rank)).astype(np.float32)
    y = b.add(ops.Conv(window, 2), x, b.constant(weight), b.constant(np.ones(6, np.float32)))
    up = random.standard_normal((6, 2, *(3,) * rank)).astype(np.float32)
    y = b.add(ops.ConvTranspose(window, (1,) * rank), y, b.constant(up), b.constant(np.ones(2, np.float32)))
    assert channels_last(before_and_after(b.graph([("y", b.add(ops.AveragePool(window), y))]), to_nhwc, 1e-4))


def test_quantized_pictures(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    q = Quantization((0.05,), (120,))
    x = b.add(ops.Quantize(q), b.input("x", IMAGE))
    weight = b.constant(random.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8), "w", Quantization((0.1,) * 4, (0, 1, 2, -3), 0))
    bias = b.constant(random.integers(-500, 500, 4).astype(np.int32))
    y = b.add(ops.QConv(ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1)), q), x, weight, bias)
    y = b.add(ops.QMean(q), b.add(ops.QAdd(q), y, x))
    graph = before_and_after(b.graph([("y", b.add(ops.Dequantize(), y))]), to_nhwc)
    assert channels_last(graph)
    assert kinds(graph)["Transpose"] == 1
