"""Where floats end: the graph between the quantization of its inputs and the dequantization of its outputs.

Whoever calls has floats, the program has bytes. What only moves floats behind a `Dequantize` moves its bytes instead; any other work over
floats is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from devices.native.ir import Graph, Node, Quantization, Type
from devices.native.operators import Dequantize, Quantize, Transpose, View
from devices.native.passes.dead import remove_dead

BYTES = ("uint8", "int8")


@dataclass(frozen=True, slots=True)
class Inner:
    """`graph` begins and ends with stored bytes; each of its inputs has the model's input that it is made of in `inputs`. An output that is
    float to the caller has in `floats` how its bytes are meant. `refused` are the operators over floats that are in between: where there
    are any, the graph is not to be used."""

    graph: Graph
    inputs: tuple[str, ...]
    floats: tuple[Quantization | None, ...]
    refused: tuple[str, ...]


def inner(graph: Graph) -> Inner:
    """The graph without its border."""
    types: dict[str, Type] = dict(graph.types)
    stored: dict[str, tuple[str, Quantization]] = {}
    made_of: dict[str, str] = {}
    same: dict[str, str] = {}
    nodes: list[Node] = []
    refused: list[str] = []
    for found in graph.nodes:
        node = replace(found, inputs=tuple(same.get(name, name) for name in found.inputs))
        x, told = node.inputs[0], _one_scale(types[node.inputs[0]])
        match node.op:
            case Quantize(out) if x in graph.inputs and out.axis is None:
                made_of[node.output] = x
            case Quantize(out) if x in stored and stored[x][1] == out:
                same[node.output] = stored[x][0]
            case Quantize() if x not in (*graph.inputs, *stored):
                pass  # what made the float is refused
            case Dequantize() if told is not None:
                stored[node.output] = x, told
            case (Transpose() | View()) as move if x in stored:
                source, meant = stored[x]
                op = replace(move, quantization=meant) if isinstance(move, View) else move
                types[node.output] = op.infer(types[source])
                nodes.append(Node(op, (source,), node.output, node.origin))
                stored[node.output] = node.output, meant
            case _ if other := _other(node, types):
                refused.append(f"{name_of(node)} over {other}")
            case _:
                nodes.append(node)
    outputs, floats = [], []
    for public, name in graph.outputs:
        value, meant = stored.get(name, (same.get(name, name), None))
        if types[value].dtype not in BYTES and not refused:
            refused.append(f"output {public!r} of {types[value].dtype} that no quantized operator makes")
        outputs.append((public, value))
        floats.append(meant)
    read = {name for node in nodes for name in node.inputs} | {value for _, value in outputs}
    made_of |= {name: name for name in graph.inputs if name in read}
    whole = Graph(tuple(made_of), tuple(outputs), tuple(nodes), types, graph.constants)
    return Inner(remove_dead(whole) if not refused else graph, tuple(made_of.values()), tuple(floats), tuple(refused))


def name_of(node: Node) -> str:
    """An operator as a refusal names it: `Binary add (node 'Add_9')`."""
    kind = getattr(node.op, "kind", "")
    label = f" (node {node.origin!r})" if node.origin else ""
    return f"{type(node.op).__name__}{f' {kind}' if kind else ''}{label}"


def stored_bytes(x: np.ndarray, scale: np.float32, zero: int, dtype: str) -> np.ndarray:
    """Float32 values as the bytes that stand for them, as `Quantize` makes them, as uint8."""
    limits = np.iinfo(dtype)
    with np.errstate(all="ignore"):
        whole = np.rint(x / scale) + np.float32(zero)
    return np.asarray(np.fmin(np.fmax(whole, limits.min), limits.max)).astype(dtype).view(np.uint8)


def _other(node: Node, types: dict[str, Type]) -> str:
    """The dtype of a value that is no byte and that the operator computes with or gives."""
    dtypes = [types[node.output].dtype, types[node.inputs[0]].dtype]
    return next((dtype for dtype in dtypes if dtype not in BYTES), "")


def _one_scale(told: Type) -> Quantization | None:
    q = told.quantization
    return q if told.dtype in BYTES and q is not None and q.axis is None else None
