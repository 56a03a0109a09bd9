"""Computes what depends on constants alone."""

from __future__ import annotations

from math import prod

from devices.native import operators as ops
from devices.native.ir import Graph, Node
from devices.native.passes.edit import Edit
from devices.native.reference import evaluate

MAX_FOLDED = 2**28
"""Bytes that all results together may take."""
MAX_WORK = 2**30
"""Multiplications and element reads that all results together may take."""


def fold_constants(graph: Graph) -> Graph:
    """The graph with nodes over constants replaced by their results, as far as MAX_FOLDED and MAX_WORK go."""
    edit = Edit(graph)
    left, work = MAX_FOLDED, MAX_WORK
    for node in graph.nodes:
        arrays = [edit.known(name) for name in node.inputs]
        told = graph.types[node.output]
        known = [array for array in arrays if array is not None]
        cost = _work(graph, node)
        if len(known) < len(arrays) or told.nbytes > left or cost > work:
            edit.keep(node)
            continue
        left, work = left - told.nbytes, work - cost
        result = evaluate(node.op, [graph.types[name] for name in node.inputs], told, known)
        edit.now[node.output] = edit.constant(result, told, node.output)
    return edit.graph()


def _work(graph: Graph, node: Node) -> int:
    size = prod(graph.types[node.output].shape)
    match node.op:
        case ops.Conv() | ops.QConv() | ops.RealConv() | ops.ConvTranspose():
            weight = graph.types[node.inputs[1]].shape
            return size * prod(weight[1:])
        case ops.MaxPool(window) | ops.AveragePool(window) | ops.QAveragePool(window):
            return size * prod(window.kernel)
        case ops.Dense() | ops.QDense() | ops.RealDense() | ops.MatMul():
            return size * graph.types[node.inputs[0]].shape[-1]
        case _:
            return max(size, *(prod(graph.types[name].shape) for name in node.inputs))
