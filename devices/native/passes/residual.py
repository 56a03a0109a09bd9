"""Takes the sum at the end of a residual block into the convolution that gives one of its sides."""

from __future__ import annotations

from dataclasses import replace

from devices.native import operators as ops
from devices.native.ir import Graph, Node
from devices.native.passes.edit import Edit


def fuse_residual(graph: Graph) -> Graph:
    """conv(x) + r -> conv(x, residual=r), for an r of the same type."""
    edit = Edit(graph)
    fused: dict[str, tuple[Node, str]] = {}
    for node in graph.nodes:
        if isinstance(node.op, ops.Binary) and node.op.kind == "add" and node.inputs[0] != node.inputs[1]:
            for source, other in (node.inputs, node.inputs[::-1]):
                conv = edit.maker(source)
                fits = graph.types[source] == graph.types[other] == graph.types[node.output] and other not in graph.constants
                if conv and fits and isinstance(conv.op, ops.Conv) and not conv.op.residual and conv.op.activation is None:
                    fused[node.output] = conv, other
                    break
    gone = {conv.output for conv, _ in fused.values()}
    for node in graph.nodes:
        if node.output in fused:
            conv, other = fused[node.output]
            assert isinstance(conv.op, ops.Conv)
            edit.put(node, replace(conv.op, residual=True), *conv.inputs, other)
        elif node.output not in gone:
            edit.keep(node)
    return edit.graph()
