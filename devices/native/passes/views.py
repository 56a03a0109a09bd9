"""Makes one view of several, and none of one that changes nothing."""

from __future__ import annotations

from devices.native import operators as ops
from devices.native.ir import Graph
from devices.native.passes.edit import Edit


def merge_views(graph: Graph) -> Graph:
    """view(view(x)) -> view(x), and a view of the same type -> x."""
    edit = Edit(graph)
    for node in graph.nodes:
        if not isinstance(node.op, ops.View):
            edit.keep(node)
            continue
        source = edit.now.get(node.inputs[0], node.inputs[0])
        before = edit.nodes.get(source)
        while before is not None and isinstance(before.op, ops.View):
            source = before.inputs[0]
            before = edit.nodes.get(source)
        if edit.types[source] == graph.types[node.output]:
            edit.now[node.output] = source
        else:
            edit.put(node, node.op, source)
    return edit.graph()
