"""Which values share memory: views of the same bytes, results written over an input that ends there, outputs made where they are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from devices.native import operators as ops
from devices.native.arrays import row_bytes
from devices.native.ir import Graph, Node
from devices.native.memory import Buffer
from devices.native.passes.batch import batched
from devices.native.rows import same_bytes, strides

Region = Literal["arena", "constants", "input", "output"]


class Storage:
    """The memory of a graph's values before it has offsets: values of one `root` are the same bytes.

    `graph` is the given one with a copying view before each output that cannot be written where it is made.
    """

    def __init__(self, graph: Graph) -> None:
        self.strides = strides(graph)
        self.views = {node.output: node.inputs[0] for node in graph.nodes if self._is_view(graph, node)}
        self.graph = self._with_copies(graph)
        self.inputs = {name: index for index, name in enumerate(graph.inputs)}
        self.outputs: dict[str, int] = {}
        self.root = {name: self._origin(name) for name in self.graph.types}
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        for index, node in enumerate(self.graph.nodes):
            self.first.setdefault(self.root[node.output], index)
            for name in node.inputs:
                self.last[self.root[name]] = index
        for number, (_, value) in enumerate(self.graph.outputs):
            self.outputs[self.root[value]] = number
        self._members: dict[str, list[str]] = {}
        for name, root in self.root.items():
            self._members.setdefault(root, []).append(name)
        self._write_over_inputs()

    def home(self, name: str, offsets: Mapping[str, int]) -> tuple[Region, int]:
        """Where a value lies: number of the caller's array, or an offset (of constants into their block, of others by root)."""
        root = self.root[name]
        if root in self.graph.constants:
            return "constants", offsets[root]
        if root in self.inputs:
            return "input", self.inputs[root]
        return ("output", self.outputs[root]) if root in self.outputs else ("arena", offsets[root])

    def buffers(self) -> list[Buffer]:
        """What needs a place in the arena."""
        given = dict.fromkeys(self.root[node.output] for node in self.graph.nodes)
        elsewhere = (self.graph.constants, self.inputs, self.outputs)
        return [
            Buffer(root, self._nbytes(root), self.first[root], self.last.get(root, self.first[root]))
            for root in given
            if not any(root in place for place in elsewhere)
        ]

    def _nbytes(self, name: str) -> int:
        return row_bytes(self.graph.types[name], self.strides[name])

    def _is_view(self, graph: Graph, node: Node) -> bool:
        if not isinstance(node.op, ops.View):
            return False
        before, after = node.inputs[0], node.output
        return same_bytes(graph.types[before], self.strides[before], graph.types[after], self.strides[after])

    def _origin(self, name: str) -> str:
        while name in self.views:
            name = self.views[name]
        return name

    def _with_copies(self, graph: Graph) -> Graph:
        """An output is copied where it is an input, a constant, padded, in the same memory as another output, or read again: kernels may
        read past the end of what they read."""
        nodes, types, outputs = list(graph.nodes), dict(graph.types), []
        taken = {
            *graph.inputs,
            *graph.constants,
            *(self._origin(name) for node in nodes if node.output not in self.views for name in node.inputs),
        }
        for number, (public, value) in enumerate(graph.outputs):
            root, told = self._origin(value), graph.types[value]
            if root in taken or self._padded(graph, root):
                copy = f"{value} (output {number})"
                nodes.append(Node(ops.View(told.shape, told.layout, told.quantization), (value,), copy))
                types[copy] = told
                self.strides[copy] = told.shape[-1] if told.rank else 1
                value = copy
            taken.add(root)
            outputs.append((public, value))
        return replace(graph, nodes=tuple(nodes), types=types, outputs=tuple(outputs))

    def _padded(self, graph: Graph, name: str) -> bool:
        return row_bytes(graph.types[name], self.strides[name]) != graph.types[name].nbytes

    def _write_over_inputs(self) -> None:
        inside = batched(self.graph)
        for index, node in enumerate(self.graph.nodes):
            if self.root[node.output] != node.output:
                continue
            for place in node.op.in_place:
                if place < len(node.inputs) and self._may_write_over(node, index, place, inside):
                    self._merge(self.root[node.inputs[place]], node.output)
                    break

    def _may_write_over(self, node: Node, index: int, place: int, inside: set[str]) -> bool:
        name = node.inputs[place]
        given, out, root = self.graph.types[name], self.graph.types[node.output], self.root[name]
        others = [other for at, other in enumerate(node.inputs) if at != place and other != name]
        return (
            (given.shape, given.nbytes, self.strides[name]) == (out.shape, out.nbytes, self.strides[node.output])
            and (name in inside) == (node.output in inside)
            and root not in self.graph.constants
            and root not in self.inputs
            and root not in self.outputs
            and self.root[node.output] not in self.outputs
            and self.last[root] == index
            and all(self.root[other] != root for other in others)
        )

    def _merge(self, root: str, joined: str) -> None:
        """Gives everything stored as `joined` the memory of `root`."""
        for name in self._members[joined]:
            self.root[name] = root
        self._members[root] += self._members.pop(joined)
        self.last[root] = self.last.pop(joined, self.first[joined])
        if joined in self.outputs:
            self.outputs[root] = self.outputs.pop(joined)
