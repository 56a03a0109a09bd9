"""Takes the function after a convolution or product into it."""

from __future__ import annotations

from dataclasses import replace

from devices.native import operators as ops
from devices.native.ir import Graph
from devices.native.passes.edit import Edit

TAKEN = frozenset({"relu", "clip", "sigmoid", "silu", "hardsigmoid", "hardswish", "tanh", "leakyrelu", "exp", "sqrt"})
"""Functions that kernels have."""


def fuse_activation(graph: Graph) -> Graph:
    """f(conv(x)) -> conv(x, activation=f)."""
    edit = Edit(graph)
    makers = {node.output: edit.maker(node.inputs[0]) for node in graph.nodes if isinstance(node.op, ops.Unary) and node.op.kind in TAKEN}
    fused = {
        output: conv
        for output, conv in makers.items()
        if conv and isinstance(conv.op, ops.Conv | ops.ConvTranspose | ops.Dense) and conv.op.activation is None
    }
    gone = {conv.output for conv in fused.values()}
    for node in graph.nodes:
        if conv := fused.get(node.output):
            assert isinstance(conv.op, ops.Conv | ops.ConvTranspose | ops.Dense)
            assert isinstance(node.op, ops.Unary)
            edit.put(node, replace(conv.op, activation=node.op), *conv.inputs)
        elif node.output not in gone:
            edit.keep(node)
    return edit.graph()
