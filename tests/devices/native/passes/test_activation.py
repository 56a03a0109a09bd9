from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.passes.activation import fuse_activation

WINDOW = ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1))


def conv(b: Builder) -> str:
    x = b.input("x", Type("float32", (1, 4, 5, 5)))
    weight = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    return b.add(ops.Conv(WINDOW), x, b.constant(weight), b.constant(np.ones(4, np.float32)))


@pytest.mark.parametrize("function", [ops.Unary("relu"), ops.Unary("clip", (0.0, 6.0)), ops.Unary("hardswish")])
def test_a_function_is_taken_in(function: ops.Unary, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    (node,) = before_and_after(b.graph([("y", b.add(function, conv(b)))]), fuse_activation).nodes
    assert node.op == ops.Conv(WINDOW, activation=function)


def test_the_second_of_two_functions_stays(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    graph = b.graph([("y", b.add(ops.Unary("exp"), b.add(ops.Unary("relu"), conv(b))))])
    assert [type(node.op) for node in before_and_after(graph, fuse_activation).nodes] == [ops.Conv, ops.Unary]


def test_a_value_with_other_readers_stays(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = conv(b)
    graph = b.graph([("y", b.add(ops.Unary("relu"), y)), ("raw", y)])
    assert before_and_after(graph, fuse_activation).nodes == graph.nodes
