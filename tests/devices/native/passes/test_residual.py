from __future__ import annotations

from collections.abc import Callable

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.passes.activation import fuse_activation
from devices.native.passes.residual import fuse_residual

WINDOW = ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1))


def conv(b: Builder, x: str, seed: int = 0) -> str:
    weight = np.random.default_rng(seed).standard_normal((4, 4, 1, 1)).astype(np.float32)
    return b.add(ops.Conv(WINDOW), x, b.constant(weight), b.constant(np.ones(4, np.float32)))


def test_a_sum_and_its_activation_are_taken_in(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (1, 4, 5, 5)))
    total = b.add(ops.Binary("add"), x, conv(b, b.add(ops.Unary("relu"), x)))
    graph = before_and_after(b.graph([("y", b.add(ops.Unary("tanh"), total))]), fuse_residual)
    (fused,) = [node for node in before_and_after(graph, fuse_activation).nodes if isinstance(node.op, ops.Conv)]
    assert fused.op == ops.Conv(WINDOW, 1, ops.Unary("tanh"), residual=True)
    assert fused.inputs[3] == x


def test_of_two_convolutions_one_takes_the_other(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (1, 4, 5, 5)))
    graph = before_and_after(b.graph([("y", b.add(ops.Binary("add"), conv(b, x), conv(b, x, 1)))]), fuse_residual)
    assert sorted(node.op.residual for node in graph.nodes if isinstance(node.op, ops.Conv)) == [False, True]


def test_a_chain_of_blocks(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = b.input("x", Type("float32", (1, 4, 5, 5)))
    for seed in range(3):
        y = b.add(ops.Binary("add"), y, conv(b, y, seed))
    graph = before_and_after(b.graph([("y", y)]), fuse_residual)
    assert len(graph.nodes) == 3


def test_other_sums_stay(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (1, 4, 5, 5)))
    first, second = conv(b, x), conv(b, x, 1)
    twice = b.add(ops.Binary("add"), first, first)
    spread = b.add(ops.Binary("add"), second, b.add(ops.Reduce("mean", (2, 3)), x))
    graph = b.graph([("a", twice), ("b", spread)])
    assert before_and_after(graph, fuse_residual).nodes == graph.nodes
