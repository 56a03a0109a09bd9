"""A graph under change: a pass walks the old nodes in order and emits new ones; types follow by inference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from devices.native.ir import Graph, Node, Op, Type


class Edit:
    """The new graph so far. It starts with the old one's inputs and constants; `now` maps the old graph's values to the new one's.

    `anew`: every node is emitted again, so that the old names of their outputs are free.
    """

    def __init__(self, graph: Graph, *, anew: bool = False) -> None:
        self.old = graph
        self.uses = graph.uses()
        self.producers = graph.producers()
        self.outputs = {value for _, value in graph.outputs}
        self.types = {name: graph.types[name] for name in (*graph.inputs, *graph.constants)}
        self.constants = dict(graph.constants)
        self.nodes: dict[str, Node] = {}
        self.now: dict[str, str] = {}
        self._taken = set(self.types if anew else graph.types)

    def keep(self, node: Node) -> None:
        """Takes over a node as it is, but for the names of its inputs."""
        self.put(node, node.op, *node.inputs)

    def put(self, node: Node, op: Op, *inputs: str) -> None:
        """An operator that gives what an old node gave, from values of the old graph."""
        now = tuple(self.now.get(name, name) for name in inputs)
        self.types[node.output] = op.infer(*(self.types[name] for name in now))
        self.nodes.pop(node.output, None)
        self.nodes[node.output] = Node(op, now, node.output, node.origin)
        self.now.pop(node.output, None)

    def emit(self, op: Op, *inputs: str, origin: str = "", name: str = "") -> str:
        """A further operator, over values of the new graph."""
        output = self.fresh(name or inputs[0])
        self.types[output] = op.infer(*(self.types[item] for item in inputs))
        self.nodes[output] = Node(op, inputs, output, origin)
        return output

    def constant(self, array: np.ndarray, told: Type, name: str) -> str:
        name = self.fresh(name)
        self.constants[name] = np.ascontiguousarray(array)
        self.types[name] = replace(told, shape=array.shape)
        return name

    def known(self, name: str) -> np.ndarray | None:
        """The elements of a constant of the new graph, by its name in the old or the new one."""
        return self.constants.get(self.now.get(name, name))

    def only_use(self, name: str) -> bool:
        """Whether a value of the old graph is read once and is no output."""
        return len(self.uses[name]) == 1 and name not in self.outputs

    def maker(self, name: str) -> Node | None:
        """The old node that gives a value, if nothing else reads it."""
        return self.producers.get(name) if self.only_use(name) else None

    def fresh(self, name: str) -> str:
        base = name.split("~")[0]
        number = 1
        while name in self._taken:
            name, number = f"{base}~{number}", number + 1
        self._taken.add(name)
        return name

    def graph(self) -> Graph:
        outputs = tuple((public, self.now.get(value, value)) for public, value in self.old.outputs)
        return without_dead(Graph(self.old.inputs, outputs, tuple(self.nodes.values()), self.types, self.constants, self.old.batch))


def without_dead(graph: Graph) -> Graph:
    """The graph without nodes and constants that no output needs."""
    needed = {value for _, value in graph.outputs}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            nodes.append(node)
    kept = needed | set(graph.inputs)
    return replace(
        graph, nodes=tuple(reversed(nodes)), types={name: told for name, told in graph.types.items() if name in kept},
        constants={name: array for name, array in graph.constants.items() if name in kept},
    )  # fmt: skip
