"""Puts channels last wherever operators have channels, and moves the changes of order to where they cost least.

Each value of the old graph may exist as it was (plain) and with its channels last (its twin). A node that has channels takes and gives
twins; one that works in any order follows its inputs; any other takes plain values. Which form exists is decided by who asks.
"""

from __future__ import annotations

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Layout, Node, Op, Type
from devices.native.passes.edit import Edit

CHANNELED = (
    ops.Conv, ops.QConv, ops.RealConv, ops.IntegerConv, ops.ConvTranspose, ops.MaxPool, ops.AveragePool, ops.QAveragePool, ops.QMean,
)  # fmt: skip
IMAGES = {ops.ConvTranspose: {0}, ops.IntegerConv: {0, 2}}
"""Inputs that are stored channels last, where they are others than image, weight and residual."""
BROADCASTING = (ops.Binary, ops.QAdd, ops.QMul)


def to_nhwc(graph: Graph) -> Graph:
    """The same graph with images stored channels last."""
    return _Layout(graph).result()


class _Layout:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.edit = Edit(graph, anew=True)
        self.plain: dict[str, str] = {name: name for name in (*graph.inputs, *graph.constants)}
        self.twin: dict[str, str] = {}
        self.later: dict[str, tuple[str, tuple[int, ...]]] = {}

    def result(self) -> Graph:
        for node in self.graph.nodes:
            self._take(node)
        for _, value in self.graph.outputs:
            self.edit.now[value] = self._plain(value)
        return self.edit.graph()

    def _take(self, node: Node) -> None:
        op, told = node.op, self.graph.types[node.inputs[0]]
        if isinstance(op, ops.Transpose):
            self._reorder(node, op)
        elif isinstance(op, CHANNELED) and told.layout == "nchw":
            images = IMAGES.get(type(op), {0, 1, 3})
            inputs = [self._twin(name) if index in images else self._plain(name) for index, name in enumerate(node.inputs)]
            self._gives(node, op, inputs)
        elif isinstance(op, ops.Reduce) and not op.keep and self._follows(node, told) and {*range(told.rank)} - {*op.axes} <= {0, 1}:
            axes = tuple(sorted(to_last(told.rank).index(axis) for axis in op.axes))
            self.plain[node.output] = self.edit.emit(
                ops.Reduce(op.kind, axes, keep=False), self._twin(node.inputs[0]), origin=node.origin, name=node.output
            )
        else:
            rank = self.graph.types[node.output].rank
            moved = op.moved(to_last(rank)) if rank > 2 and self._follows(node, self.graph.types[node.output]) else None
            if moved is None:
                self.plain[node.output] = self.edit.emit(op, *map(self._plain, node.inputs), origin=node.origin, name=node.output)
            elif isinstance(op, BROADCASTING):
                self._gives(node, moved, [self._lifted(name, rank) for name in node.inputs])
            elif isinstance(op, ops.Concat):
                self._gives(node, moved, [self._twin(name) for name in node.inputs])
            else:
                self._gives(node, moved, [self._twin(node.inputs[0]), *map(self._plain, node.inputs[1:])])

    def _follows(self, node: Node, out: Type) -> bool:
        """Whether more of what a node reads is stored channels last than not."""
        images = node.inputs if isinstance(node.op, (*BROADCASTING, ops.Concat)) else node.inputs[:1]
        last = sum(self.graph.types[name].nbytes for name in images if name in self.twin)
        first = sum(self.graph.types[name].nbytes for name in images if name not in self.twin and name not in self.graph.constants)
        return last > first and out.layout == "nchw"

    def _gives(self, node: Node, op: Op, inputs: list[str]) -> None:
        output = self.edit.emit(op, *inputs, origin=node.origin, name=node.output)
        self.twin[node.output] = output
        self.later[node.output] = output, to_first(self.graph.types[node.output].rank)

    def _reorder(self, node: Node, op: ops.Transpose) -> None:
        """A transpose only notes where its result can be had from; with channels last already, it is free."""
        source, rank = node.inputs[0], len(op.perm)
        stored, perm = self.later.get(source, (self.plain.get(source, source), tuple(range(rank))))
        # Axis i of the source is axis perm[i] of what is stored.
        composed = tuple(perm[axis] for axis in op.perm)
        self.later[node.output] = stored, composed
        if rank > 2 and tuple(composed[axis] for axis in to_last(rank)) == tuple(range(rank)):
            self.twin[node.output] = self._stored(stored, tuple(range(rank)), "nhwc", node.origin)

    def _plain(self, name: str) -> str:
        if name not in self.plain:
            stored, perm = self.later[name]
            self.plain[name] = self._stored(stored, perm, "nchw", "")
        return self.plain[name]

    def _twin(self, name: str) -> str:
        if name not in self.twin:
            rank = self.graph.types[name].rank
            stored, perm = self.later.get(name, ("", ()))
            if name in self.plain or not stored:
                stored, perm = self._plain(name), tuple(range(rank))
            self.twin[name] = self._stored(stored, tuple(perm[axis] for axis in to_last(rank)), "nhwc", "")
        return self.twin[name]

    def _lifted(self, name: str, rank: int) -> str:
        """The twin of a value that is broadcast: ones are put before its axes first."""
        told = self.graph.types[name]
        if told.rank == rank:
            return self._twin(name)
        plain = self._plain(name)
        if all(size == 1 for size in told.shape):
            return plain
        whole = self._viewed(plain, (1,) * (rank - told.rank) + told.shape, "nchw")
        return self._stored(whole, to_last(rank), "nhwc", "")

    def _stored(self, stored: str, perm: tuple[int, ...], layout: Layout, origin: str) -> str:
        """A value of the new graph with its axes in another order."""
        told = self.edit.types[stored]
        shape = tuple(told.shape[axis] for axis in perm)
        seen = [axis for axis in perm if told.shape[axis] != 1]
        per_axis = told.quantization is not None and told.quantization.axis is not None
        if stored in self.edit.constants:
            op = ops.Transpose(perm, layout)
            return self.edit.constant(np.transpose(self.edit.constants[stored], perm), op.infer(told), stored)
        if seen == sorted(seen) and not per_axis:
            return self._viewed(stored, shape, layout)
        return self.edit.emit(ops.Transpose(perm, layout), stored, origin=origin)

    def _viewed(self, stored: str, shape: tuple[int, ...], layout: Layout) -> str:
        told = self.edit.types[stored]
        if (told.shape, told.layout) == (shape, layout):
            return stored
        view = ops.View(shape, layout, told.quantization)
        if stored in self.edit.constants:
            return self.edit.constant(self.edit.constants[stored].reshape(shape), view.infer(told), stored)
        return self.edit.emit(view, stored)


def to_last(rank: int) -> tuple[int, ...]:
    """The order of axes that puts channels last."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The order of axes that puts channels back to the second place."""
    return (0, rank - 1, *range(1, rank - 1))
