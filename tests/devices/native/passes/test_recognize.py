from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Op, Type
from devices.native.passes.recognize import recognize

SHAPE = (2, 3, 8)


class Written(Builder):
    """A builder with the operators that exporters write."""

    def two(self, kind: str, left: str, right: str | float, *, turned: bool = False) -> str:
        other = right if isinstance(right, str) else self.scalar(right)
        return self.add(ops.Binary(kind), *((other, left) if turned else (left, other)))  # type: ignore[arg-type]

    def one(self, kind: str, x: str, *parameters: float) -> str:
        return self.add(ops.Unary(kind, parameters), x)  # type: ignore[arg-type]


def silu(b: Written, x: str, turned: bool) -> str:
    return b.two("mul", x, b.one("sigmoid", x), turned=turned)


def hard_swish(b: Written, x: str, turned: bool) -> str:
    return b.two("mul", x, b.two("mul", b.one("clip", b.two("add", x, 3.0, turned=turned), 0.0, 6.0), 1 / 6, turned=turned))


def hard_swish_divided(b: Written, x: str, turned: bool) -> str:
    return b.two("div", b.two("mul", x, b.one("clip", b.two("add", x, 3.0), 0.0, 6.0), turned=turned), 6.0)


def hard_swish_of_sigmoid(b: Written, x: str, turned: bool) -> str:
    return b.two("mul", x, b.one("hardsigmoid", x, 1 / 6, 0.5), turned=turned)


def hard_sigmoid(b: Written, x: str, turned: bool) -> str:
    return b.two("mul", b.one("clip", b.two("add", x, 3.0, turned=turned), 0.0, 6.0), 0.16666667)


def gelu(b: Written, x: str, turned: bool) -> str:
    erf = b.two("add", b.one("erf", b.two("div", x, sqrt(2))), 1.0, turned=turned)
    return b.two("mul", b.two("mul", x, erf, turned=turned), 0.5)


def gelu_of_half(b: Written, x: str, turned: bool) -> str:
    erf = b.two("add", b.one("erf", b.two("mul", x, 1 / sqrt(2))), 1.0)
    return b.two("mul", b.two("mul", x, 0.5, turned=turned), erf, turned=turned)


def layer_norm(b: Written, x: str, turned: bool) -> str:
    last = ops.Reduce("mean", (2,))
    centred = b.two("sub", x, b.add(last, x))
    square = b.two("mul", centred, centred) if turned else b.two("pow", centred, 2.0)
    normal = b.two("div", centred, b.one("sqrt", b.two("add", b.add(last, square), 1e-5, turned=turned)))
    scale, bias = b.constant(np.arange(8, dtype=np.float32)), b.constant(np.ones(8, np.float32))
    return b.two("add", b.two("mul", normal, scale, turned=turned), bias, turned=turned)


def prelu(b: Written, x: str, turned: bool) -> str:
    slopes = b.constant(-np.arange(8, dtype=np.float32))
    return b.two("add", b.one("relu", x), b.two("mul", b.one("relu", b.one("neg", x)), slopes, turned=turned), turned=turned)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("write", "op"),
    [
        (silu, ops.Unary("silu")),
        (hard_swish, ops.Unary("hardswish")),
        (hard_swish_divided, ops.Unary("hardswish")),
        (hard_swish_of_sigmoid, ops.Unary("hardswish")),
        (hard_sigmoid, ops.Unary("hardsigmoid", (1 / 6, 0.5))),
        (gelu, ops.Unary("gelu", (0.0,))),
        (gelu_of_half, ops.Unary("gelu", (0.0,))),
        (prelu, ops.Binary("prelu")),
    ],
)
def test_functions(write: Callable[[Written, str, bool], str], op: Op, turned: bool, before_and_after: Callable[..., Graph]) -> None:
    b = Written()
    (node,) = before_and_after(b.graph([("y", write(b, b.input("x", Type("float32", SHAPE)), turned))]), recognize).nodes
    assert node.op == op


@pytest.mark.parametrize("turned", [False, True])
def test_layer_norm(turned: bool, before_and_after: Callable[..., Graph]) -> None:
    b = Written()
    (node,) = before_and_after(b.graph([("y", layer_norm(b, b.input("x", Type("float32", SHAPE)), turned))]), recognize).nodes
    assert node.op == ops.LayerNorm(2, pytest.approx(1e-5))  # type: ignore[arg-type]


def test_views_that_name_another_layout_are_looked_through(before_and_after: Callable[..., Graph]) -> None:
    b = Written()
    x = b.one("tanh", b.add(ops.View((1, 4, 5, 8), "nhwc"), b.input("x", Type("float32", (1, 4, 5, 8)))))
    turned = b.one("relu", b.one("neg", b.add(ops.View((1, 4, 5, 8)), x)))
    product = b.two("mul", turned, b.constant(np.arange(8, dtype=np.float32).reshape(1, 1, 8)))
    y = b.two("add", b.one("relu", x), b.add(ops.View((1, 4, 5, 8), "nhwc"), product))
    graph = before_and_after(b.graph([("y", y)]), recognize)
    assert [node.op for node in graph.nodes[2:]] == [ops.Binary("prelu")]


def test_what_is_only_similar_stays(before_and_after: Callable[..., Graph]) -> None:
    b = Written()
    x, z = (b.input(name, Type("float32", SHAPE)) for name in "xz")
    outputs = [
        b.two("mul", x, b.one("sigmoid", z)),
        b.two("mul", b.one("clip", b.two("add", x, 2.0), 0.0, 6.0), 1 / 6),
        b.two("mul", b.one("clip", b.two("add", x, 3.0), 0.0, 5.0), 1 / 6),
        b.two("mul", b.two("mul", x, b.two("add", b.one("erf", x), 1.0)), 0.5),
        b.two("add", b.one("relu", x), b.two("mul", b.one("relu", b.one("neg", z)), 0.1)),
        b.two("div", b.two("sub", x, b.add(ops.Reduce("mean", (1,)), x)), z),
    ]
    graph = b.graph([(str(index), name) for index, name in enumerate(outputs)])
    assert before_and_after(graph, recognize).nodes == graph.nodes
