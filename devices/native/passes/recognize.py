"""Finds functions that exporters write as several operators: SiLU, hard swish and sigmoid, GELU, PReLU, layer norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from devices.native import operators as ops
from devices.native.ir import Graph, GraphError, Node, Op
from devices.native.operators.elementwise import BinaryKind, UnaryKind
from devices.native.passes.edit import Edit

NEAR = 1e-3
"""How far a constant may be from the one that a function is written with, as a part of it."""


def recognize(graph: Graph) -> Graph:
    """The graph with each function that is known as one operator."""
    edit = Edit(graph)
    seen = _Seen(graph)
    for node in graph.nodes:
        found = seen.function(node)
        if found is None or not _fits(graph, node, *found):
            edit.keep(node)
            continue
        op, inputs = found
        if isinstance(op, ops.Binary):  # the slope of a PReLU is written negated
            slope = edit.constant(-graph.constants[inputs[1]], graph.types[inputs[1]], inputs[1])
            inputs = (inputs[0], slope)
        edit.put(node, op, *inputs)
    return edit.graph()


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two inputs of an operator, in either order where it does not matter."""

    first: str
    second: str


class _Seen:
    """What gives each value of a graph; views that only name another layout are looked through."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.same: dict[str, str] = {}
        for node in graph.nodes:
            if isinstance(node.op, ops.View) and graph.types[node.inputs[0]].shape == node.op.shape:
                self.same[node.output] = self.same.get(node.inputs[0], node.inputs[0])

    def function(self, node: Node) -> tuple[Op, tuple[str, ...]] | None:
        """The operator that computes what a node gives, and its inputs; None for what is not known."""
        if not isinstance(node.op, ops.Binary) or self.graph.types[node.output].dtype != "float32":
            return None
        y = node.output
        for kind, x in (("silu", self._silu(y)), ("hardswish", self._hard_swish(y)), ("gelu", self._gelu(y))):
            if x is not None:
                return ops.Unary(kind, (0.0,) if kind == "gelu" else ()), (x,)  # type: ignore[arg-type]
        if (x := self._hard_sigmoid(y)) is not None:
            return ops.Unary("hardsigmoid", (1 / 6, 0.5)), (x,)
        return self._prelu(y) or self._layer_norm(y)

    def _silu(self, y: str) -> str | None:
        """x * sigmoid(x)"""
        return next((p.first for p in self._both(y, "mul") if self._unary(p.second, "sigmoid") == p.first), None)

    def _hard_swish(self, y: str) -> str | None:
        """x * hardsigmoid(x), or x * clip(x + 3, 0, 6) / 6"""
        for p in self._both(y, "mul"):
            if self._hard_sigmoid(p.second) == p.first:
                return p.first
        inner = self._divided(y, 6)
        return next((p.first for p in self._both(inner, "mul") if self._clipped(p.second) == p.first), None) if inner else None

    def _hard_sigmoid(self, y: str) -> str | None:
        """clip(x + 3, 0, 6) / 6"""
        node = self._maker(y)
        if node is not None and isinstance(node.op, ops.Unary) and node.op.kind == "hardsigmoid":
            return self._inputs(node)[0] if _near(node.op.parameters, (1 / 6, 0.5)) else None
        inner = self._divided(y, 6)
        return self._clipped(inner) if inner else None

    def _clipped(self, y: str) -> str | None:
        """x of clip(x + 3, 0, 6)"""
        node = self._maker(y)
        if node is None or node.op != ops.Unary("clip", (0.0, 6.0)):
            return None
        return next((p.first for p in self._both(self._inputs(node)[0], "add") if self._is(p.second, 3)), None)

    def _gelu(self, y: str) -> str | None:
        """0.5 * x * (1 + erf(x / sqrt(2))), in any order"""
        for half in self._both(y, "mul"):
            for p in self._both(half.first, "mul") if self._is(half.second, 0.5) else ():
                if self._one_and_erf(p.second) == p.first:
                    return p.first
            for p in self._both(half.first, "mul"):
                if self._is(p.second, 0.5) and self._one_and_erf(half.second) == p.first:
                    return p.first
        return None

    def _one_and_erf(self, y: str) -> str | None:
        """x of 1 + erf(x / sqrt(2))"""
        for p in self._both(y, "add"):
            inner = self._unary(p.first, "erf") if self._is(p.second, 1) else None
            if inner is not None:
                return self._divided(inner, sqrt(2))
        return None

    def _prelu(self, y: str) -> tuple[Op, tuple[str, ...]] | None:
        """relu(x) + relu(-x) * c, where -c is the slope"""
        for p in self._both(y, "add"):
            x = self._unary(p.first, "relu")
            for q in self._both(p.second, "mul") if x else ():
                turned = self._unary(q.first, "relu")
                if turned and x and self._unary(turned, "neg") == x and q.second in self.graph.constants:
                    return ops.Binary("prelu"), (x, q.second)
        return None

    def _layer_norm(self, y: str) -> tuple[Op, tuple[str, ...]] | None:
        """(x - mean) / sqrt(mean of its square + epsilon) * scale + bias over the last axis"""
        for p in self._both(y, "add"):
            for q in self._both(p.first, "mul"):
                centred, deviation = self._binary(q.first, "div") or ("", "")
                variance = self._unary(deviation, "sqrt")
                x, mean = self._binary(centred, "sub") or ("", "")
                if not variance or self._mean(mean) != x:
                    continue
                for r in self._both(variance, "add"):
                    epsilon = self._number(r.second)
                    if epsilon is not None and self._squared(self._mean(r.first) or "") == centred:
                        return ops.LayerNorm(self.graph.types[x].rank - 1, epsilon), (x, q.second, p.second)
        return None

    def _squared(self, y: str) -> str | None:
        raised, product = self._binary(y, "pow"), self._binary(y, "mul")
        if raised and self._is(raised[1], 2):
            return raised[0]
        return product[0] if product and product[0] == product[1] else None

    def _mean(self, y: str) -> str | None:
        """x of a mean over the last axis that stays"""
        node = self._maker(y)
        if node is None or not isinstance(node.op, ops.Reduce) or node.op.kind != "mean" or not node.op.keep:
            return None
        return self._inputs(node)[0] if node.op.axes == (self.graph.types[node.inputs[0]].rank - 1,) else None

    def _divided(self, y: str, by: float) -> str | None:
        """x of x / by or x * (1 / by)"""
        quotient = self._binary(y, "div")
        if quotient and self._is(quotient[1], by):
            return quotient[0]
        return next((p.first for p in self._both(y, "mul") if self._is(p.second, 1 / by)), None)

    def _unary(self, y: str, kind: UnaryKind) -> str | None:
        node = self._maker(y)
        return self._inputs(node)[0] if node is not None and isinstance(node.op, ops.Unary) and node.op.kind == kind else None

    def _binary(self, y: str, kind: BinaryKind) -> tuple[str, str] | None:
        node = self._maker(y)
        if node is None or not isinstance(node.op, ops.Binary) or node.op.kind != kind:
            return None
        left, right = self._inputs(node)
        return left, right

    def _maker(self, y: str) -> Node | None:
        return self.producers.get(self.same.get(y, y))

    def _inputs(self, node: Node) -> tuple[str, ...]:
        return tuple(self.same.get(name, name) for name in node.inputs)

    def _both(self, y: str | None, kind: BinaryKind) -> Iterator[_Pair]:
        pair = self._binary(y, kind) if y else None
        if pair is not None:
            yield _Pair(*pair)
            yield _Pair(*pair[::-1])

    def _number(self, name: str) -> float | None:
        array = self.graph.constants.get(name)
        return float(array.ravel()[0]) if array is not None and array.size == 1 else None

    def _is(self, name: str, wanted: float) -> bool:
        number = self._number(name)
        return number is not None and _near((number,), (wanted,))


def _fits(graph: Graph, node: Node, op: Op, inputs: tuple[str, ...]) -> bool:
    try:
        return op.infer(*(graph.types[name] for name in inputs)) == graph.types[node.output]
    except GraphError:
        return False


def _near(numbers: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    return all(abs(number - want) <= NEAR * abs(want) for number, want in zip(numbers, wanted, strict=True))
