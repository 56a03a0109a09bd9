"""Takes products of stored values whose result stays real into sums over whole numbers, which are scaled once.

What such a product would read dequantized has only 256 values, so that the sum is exact and takes fewer instructions than one of floats.
"""

from __future__ import annotations

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Op, Type
from devices.native.passes.edit import Edit
from devices.native.passes.qdq import stored_of, whole_bias


def fuse_real(graph: Graph) -> Graph:
    """dequantize -> convolution or product with int8 weights, result in float32 -> its form over stored values and what was fused to it."""
    edit = Edit(graph)
    for node in graph.nodes:
        if not _real(edit, node):
            edit.keep(node)
    return edit.graph()


def _real(edit: Edit, node: Node) -> bool:
    op = node.op
    if not isinstance(op, ops.Conv | ops.Dense) or (isinstance(op, ops.Conv) and op.group != 1):
        return False
    x, weight = stored_of(edit, node.inputs[0]), stored_of(edit, node.inputs[1], "int8")
    if x is None or weight is None or weight not in edit.constants:
        return False
    given, weights = edit.types[x].quantization, edit.types[weight].quantization
    assert given is not None
    assert weights is not None
    if weights.axis not in (None, 0 if isinstance(op, ops.Conv) else 1):
        return False
    whole = whole_bias(edit, node.inputs[2], np.multiply(given.scale, np.array(weights.scales, np.float32)))
    if whole is None:
        return False
    bias = edit.constant(whole, Type("int32", whole.shape), node.inputs[2])
    after: list[tuple[Op, tuple[str, ...]]] = [(ops.RealConv(op.window) if isinstance(op, ops.Conv) else ops.RealDense(), (weight, bias))]
    if isinstance(op, ops.Conv) and op.residual:
        after.append((ops.Binary("add"), (edit.now.get(node.inputs[3], node.inputs[3]),)))
    if op.activation is not None:
        after.append((op.activation, ()))
    made = x
    for form, others in after[:-1]:
        made = edit.emit(form, made, *others, origin=node.origin, name=node.output)
    edit.put(node, after[-1][0], made, *after[-1][1])
    return True
