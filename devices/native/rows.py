"""How far apart the rows of a value lie: the channels of a pixel, or the columns of a matrix, padded for the kernels.

Images stored channels last, matrices, and what is computed from them element by element or as rows of a product take
`kernels.layout.channel_stride` elements a row; small pictures that only convolutions read take `PICTURE`. All else is without gaps, as are
constants and the caller's arrays. What lies in the padding is never read for a result.
"""

from __future__ import annotations

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Type
from devices.native.kernels.layout import PICTURE, channel_stride

BY_ROWS = (ops.Dense, ops.QDense, ops.RealDense, ops.IntegerDense, ops.LayerNorm)
ELEMENTWISE = (ops.Unary, ops.Binary, ops.Cast, ops.Quantize, ops.Dequantize, ops.QAdd, ops.QMul, ops.Table, ops.FlipSign)
DRAWN_BY = (ops.Transpose, ops.View)
"""What can give a picture."""


def strides(graph: Graph) -> dict[str, int]:
    """Elements from one row to the next of every value."""
    padded = _padded(graph)
    pictures = _pictures(graph)
    found = {}
    for name, told in graph.types.items():
        compact = told.shape[-1] if told.rank else 1
        found[name] = PICTURE if name in pictures else channel_stride(compact) if name in padded and compact else compact
    return found


def same_bytes(first: Type, first_stride: int, second: Type, second_stride: int) -> bool:
    """Whether two types of as many elements see the same elements in the same memory."""
    gaps = [bool(told.rank) and stride != told.shape[-1] for told, stride in ((first, first_stride), (second, second_stride))]
    if not any(gaps):
        return True
    return bool(first.rank and second.rank) and (first.shape[-1], first_stride) == (second.shape[-1], second_stride)


def _padded(graph: Graph) -> set[str]:
    """Values that nodes give and that lie in padded rows."""
    group = {name: name for name in graph.types}

    def head(name: str) -> str:
        while group[name] != name:
            group[name] = group[group[name]]
            name = group[name]
        return name

    seeds = set()
    for node in graph.nodes:
        told = graph.types[node.output]
        if told.layout == "nhwc" or told.rank == 2:
            seeds.add(node.output)
        if isinstance(node.op, ops.MatMul):
            seeds.update((node.output, *node.inputs))
        if isinstance(node.op, BY_ROWS) or (isinstance(node.op, ops.Softmax) and node.op.axis == told.rank - 1):
            seeds.update((node.output, node.inputs[0]))
        for name in node.inputs:
            if _alike(node, graph.types[name], told):
                group[head(name)] = head(node.output)
    given = {node.output for node in graph.nodes}
    heads = {head(name) for name in seeds}
    return {name for name in given if head(name) in heads and graph.types[name].rank > 1}


def _alike(node: Node, told: Type, out: Type) -> bool:
    """Whether an input and the output had best lie in the same way."""
    if isinstance(node.op, ops.View):
        return bool(told.rank and out.rank) and told.shape[-1] == out.shape[-1]
    return isinstance(node.op, ELEMENTWISE) and told.shape == out.shape


def _pictures(graph: Graph) -> set[str]:
    uses = graph.uses()
    outputs = {value for _, value in graph.outputs}
    return {
        node.output
        for node in graph.nodes
        if (told := graph.types[node.output]).layout == "nhwc"
        and told.rank == 4
        and told.channels <= PICTURE
        and isinstance(node.op, DRAWN_BY) and node.output not in outputs
        and all(_draws(use, node.output) for use in uses[node.output])
    }  # fmt: skip


def _draws(use: Node, name: str) -> bool:
    return isinstance(use.op, ops.Conv | ops.QConv | ops.RealConv) and use.op.group == 1 and use.inputs[0] == name
