"""Finds channel shuffles: every n-th channel, taken by a change of order and a pick."""

from __future__ import annotations

from devices.native import operators as ops
from devices.native.ir import Graph, Node
from devices.native.passes.edit import Edit


def cut_shuffles(graph: Graph) -> Graph:
    """Half i of a ShuffleNet's split (arXiv:1807.11164), as exporters write it, becomes a slice of channels i, i + n, … of the image.

    gather(view(transpose(view(x, (C / n, n, H * W)), (1, 0, 2)), (n, 1, C / n, H, W)), i) for x (1, C, H, W).
    """
    edit = Edit(graph)
    producers = graph.producers()
    for node in graph.nodes:
        found = _shuffled(graph, producers, node)
        if found is None:
            edit.keep(node)
        else:
            edit.put(node, found[0], found[1])
    return edit.graph()


def _shuffled(graph: Graph, producers: dict[str, Node], node: Node) -> tuple[ops.Slice, str] | None:
    if not isinstance(node.op, ops.Gather) or node.op.axis != 0:
        return None
    indices = graph.constants.get(node.inputs[1])
    unfolded = producers.get(node.inputs[0])
    turned = producers.get(unfolded.inputs[0]) if unfolded and isinstance(unfolded.op, ops.View) else None
    folded = producers.get(turned.inputs[0]) if turned and turned.op == ops.Transpose((1, 0, 2)) else None
    if indices is None or indices.ndim or folded is None or not isinstance(folded.op, ops.View):
        return None
    x = folded.inputs[0]
    told, out, split = graph.types[x], graph.types[node.output], folded.op.shape
    if told.rank < 3 or told.shape[0] != 1 or told.layout != "nchw" or out.shape != (1, split[0], *told.shape[2:]) or told.quantization:
        return None
    if split[0] * split[1] != told.shape[1]:
        return None
    first = int(indices) % split[1]
    return ops.Slice((1,), (first,), (split[1],), (split[0],)), x
