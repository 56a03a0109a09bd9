from __future__ import annotations

from collections.abc import Callable

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.passes.views import merge_views


def test_views_of_views_are_one(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (2, 3, 4)))
    flat = b.add(ops.View((24,)), b.add(ops.View((6, 4)), b.add(ops.Unary("relu"), x)))
    graph = before_and_after(b.graph([("y", b.add(ops.Unary("exp"), b.add(ops.View((4, 6)), flat)))]), merge_views)
    assert [type(node.op) for node in graph.nodes] == [ops.Unary, ops.View, ops.Unary]


def test_a_view_back_is_none(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (2, 3)))
    back = b.add(ops.View((2, 3)), b.add(ops.View((3, 2)), x))
    graph = before_and_after(b.graph([("y", b.add(ops.Unary("relu"), back)), ("x again", back)]), merge_views)
    assert [type(node.op) for node in graph.nodes] == [ops.Unary]
    assert graph.outputs[1] == ("x again", "x")
