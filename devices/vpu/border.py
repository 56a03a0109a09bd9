"""Where floats end: the graph between the quantization of its inputs and the dequantization of its outputs.

Whoever calls has floats, the program has bytes. What only moves floats behind a `Dequantize` moves its bytes instead; any other work over
floats is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from devices.native.ir import Graph, Node, Quantization, Type
from devices.native.operators import Dequantize, Quantize, Transpose, View
from devices.native.passes.dead import remove_dead

BYTES = ("uint8", "int8")


@dataclass(frozen=True, slots=True)
class Reason:
    """What stands against a model: an operator, the node of the file that it came from, and why."""

    operator: str
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Inner:
    """`graph` begins and ends with stored bytes; each of its inputs has the model's input that it is made of in `inputs`. An output that is
    float to the caller has in `floats` how its bytes are meant. `refused` are the operators over floats that are in between: where there
    are any, the graph is not to be used."""

    graph: Graph
    inputs: tuple[str, ...]
    floats: tuple[Quantization | None, ...]
    refused: tuple[Reason, ...]


def inner(graph: Graph) -> Inner:
    """The graph without its border."""
    types: dict[str, Type] = dict(graph.types)
    stored: dict[str, tuple[str, Quantization]] = {}
    made_of: dict[str, str] = {}
    same: dict[str, str] = {}
    nodes: list[Node] = []
    refused: list[Reason] = []
    for found in graph.nodes:
        node = replace(found, inputs=tuple(same.get(name, name) for name in found.inputs))
        x, scaled = node.inputs[0], _one_scale(types[node.inputs[0]])
        match node.op:
            case Quantize(out) if x in graph.inputs and out.axis is None:
                made_of[node.output] = x
            case Quantize(out) if x in stored and stored[x][1] == out:
                same[node.output] = stored[x][0]
            case Quantize() if x not in (*graph.inputs, *stored):
                pass  # what made the float is refused
            case Dequantize() if scaled is not None:
                stored[node.output] = x, scaled
            case (Transpose() | View()) as move if x in stored:
                source, meant = stored[x]
                op = replace(move, quantization=meant) if isinstance(move, View) else move
                types[node.output] = op.infer(types[source])
                nodes.append(Node(op, (source,), node.output, node.origin))
                stored[node.output] = node.output, meant
            case _ if other := _other(node, types):
                refused.append(reason(node, f"over {other}"))
            case _:
                nodes.append(node)
    outputs: list[tuple[str, str]] = []
    floats: list[Quantization | None] = []
    for public, name in graph.outputs:
        value, as_float = stored[name] if name in stored else (same.get(name, name), None)
        if types[value].dtype not in BYTES and not refused:
            refused.append(Reason("output", public, f"of {types[value].dtype} that no quantized operator makes"))
        outputs.append((public, value))
        floats.append(as_float)
    read = {name for node in nodes for name in node.inputs} | {value for _, value in outputs}
    made_of |= {name: name for name in graph.inputs if name in read}
    whole = Graph(tuple(made_of), tuple(outputs), tuple(nodes), types, graph.constants)
    return Inner(remove_dead(whole) if not refused else graph, tuple(made_of.values()), tuple(floats), tuple(refused))


def reason(node: Node, why: str) -> Reason:
    """A reason against an operator, which is named as `Binary add`."""
    kind = getattr(node.op, "kind", "")
    return Reason(f"{type(node.op).__name__} {kind}".strip(), node.origin or node.output, why)


def told(reasons: Sequence[Reason]) -> tuple[str, ...]:
    """Each operator once for every why: `Binary add over float32 (node 'Add_26' and 9 more)`."""
    found: dict[str, list[str]] = {}
    for each in reasons:
        found.setdefault(f"{each.operator} {each.why}", []).append(each.node)
    return tuple(f"{what} (node {nodes[0]!r}{f' and {more} more' if (more := len(nodes) - 1) else ''})" for what, nodes in found.items())


def _other(node: Node, types: dict[str, Type]) -> str:
    """The dtype of a value that is no byte and that the operator computes with or gives."""
    dtypes = [types[node.output].dtype, types[node.inputs[0]].dtype]
    return next((dtype for dtype in dtypes if dtype not in BYTES), "")


def _one_scale(told: Type) -> Quantization | None:
    q = told.quantization
    return q if told.dtype in BYTES and q is not None and q.axis is None else None
