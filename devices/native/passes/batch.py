"""Finds out whether a graph treats the items of a batch apart, and gives the graph for any number of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Type
from devices.native.passes.edit import without_dead


def open_batch(one: Graph, two: Graph) -> Graph | None:
    """The graph with an open batch, from the same model read for one and for two items; None where an operator mixes items, or where
    the model is not the same for both."""
    one, two = without_dead(one), without_dead(two)
    if len(one.nodes) != len(two.nodes) or one.types.keys() != two.types.keys() or one.outputs != two.outputs:
        return None
    if any(not np.array_equal(array, two.constants.get(name, np.empty(0))) for name, array in one.constants.items()):
        return None
    batch = tuple(name for name in one.inputs if one.types[name] != two.types[name])
    graph = replace(one, batch=batch)
    values = batched(graph)
    if any((one.types[name].shape[:1], two.types[name].shape[:1]) != ((1,), (2,)) for name in values):
        return None
    if any(not _apart(node, graph, values) for node in graph.nodes if values.intersection(node.inputs)):
        return None
    scaled = rebatched(graph, 2)
    return graph if dict(scaled.types) == dict(two.types) and scaled.nodes == two.nodes else None


def rebatched(graph: Graph, batch: int) -> Graph:
    """A graph with an open batch for this many items, as one with a fixed batch."""
    values = batched(graph)
    types: dict[str, Type] = dict(graph.types)
    for name in graph.batch:
        types[name] = types[name].shaped((types[name].shape[0] * batch, *types[name].shape[1:]))
    nodes = []
    for node in graph.nodes:
        op = node.op.rebatched(batch) if node.output in values else node.op
        types[node.output] = op.infer(*(types[name] for name in node.inputs))
        nodes.append(replace(node, op=op))
    return replace(graph, types=types, nodes=tuple(nodes), batch=())


def batched(graph: Graph) -> set[str]:
    """Values that have an item for each item of the batch."""
    values = set(graph.batch)
    for node in graph.nodes:
        if values.intersection(node.inputs):
            values.add(node.output)
    return values


def _apart(node: Node, graph: Graph, values: set[str]) -> bool:
    """Whether a node over values of the batch computes each item from that item alone, items being along the first axis."""
    types = [graph.types[name] for name in node.inputs]
    out: Type = graph.types[node.output]
    inside = [name in values for name in node.inputs]
    first_only = inside[0] and not any(inside[1:])
    op: Any = node.op
    match op:
        case ops.Unary() | ops.Cast() | ops.Table() | ops.Quantize() | ops.Dequantize() | ops.FlipSign() | ops.QMean():
            return first_only
        case ops.Binary() | ops.Where() | ops.QAdd() | ops.QMul():
            return all(told.rank == out.rank for told, batched in zip(types, inside, strict=True) if batched)
        case ops.Conv():
            return inside[0] and not any(inside[1:3])
        case (
            ops.ConvTranspose() | ops.QConv() | ops.RealConv() | ops.IntegerConv() | ops.MaxPool() | ops.AveragePool() | ops.QAveragePool()
        ):
            return first_only
        case ops.Dense() | ops.QDense() | ops.RealDense() | ops.IntegerDense():
            return first_only and types[0].rank > 1
        case ops.MatMul():
            left, right = types
            if all(inside):
                return left.rank == right.rank > 2
            return left.rank >= max(2, right.rank) if inside[0] else right.rank >= max(3, left.rank)
        case ops.View():
            return types[0].rank > 0 and out.rank > 0 and types[0].shape[0] == out.shape[0] == 1
        case ops.Transpose():
            return op.perm[0] == 0
        case ops.Concat():
            return op.axis != 0 and all(inside)
        case ops.Slice() | ops.Resize() | ops.Reduce():
            return 0 not in op.axes
        case ops.Pad():
            return op.before[0] == op.after[0] == 0
        case ops.Gather() | ops.Softmax() | ops.Arg() | ops.LayerNorm():
            return op.axis != 0 and first_only
        case ops.Broadcast():
            return types[0].rank == out.rank
        case ops.Tile():
            return op.repeats[0] == 1
        case _:
            return False
