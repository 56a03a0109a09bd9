"""Transposed convolutions whose windows do not overlap: a 1x1 convolution, whose channels are then spread over the pixels."""

from __future__ import annotations

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Type
from devices.native.passes.edit import Edit


def unfold_transposed(graph: Graph) -> Graph:
    """f(conv_transpose(x, w)) with kernel = stride -> f(view(transpose(view(conv(x, w'))))), with the taps as further outputs."""
    edit = Edit(graph)
    for node in graph.nodes:
        if not _unfolds(edit, node):
            edit.keep(node)
    return edit.graph()


def _unfolds(edit: Edit, node: Node) -> bool:
    op = node.op
    if not isinstance(op, ops.ConvTranspose) or op.group != 1 or len(op.window.kernel) != 2:
        return False
    weight, bias = (edit.known(name) for name in node.inputs[1:3])
    spread = op.window.kernel == op.window.strides and set(op.window.dilations) == {1} and not any((*op.window.pads, *op.extra))
    if weight is None or bias is None or not spread:
        return False
    (_, outs, down, along), (height, width) = weight.shape, op.window.kernel
    x = edit.now.get(node.inputs[0], node.inputs[0])
    told = edit.types[x]
    if told.layout != "nchw":
        return False
    items, rows, columns = told.shape[0], *told.spatial
    turned = np.ascontiguousarray(weight.transpose(1, 2, 3, 0).reshape(outs * down * along, -1, 1, 1))
    more = np.repeat(bias, down * along)
    w = edit.constant(turned, Type("float32", turned.shape), node.inputs[1])
    b = edit.constant(more, Type("float32", more.shape), node.inputs[2])
    value = edit.emit(ops.Conv(ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1))), x, w, b, origin=node.origin, name=node.output)
    value = edit.emit(ops.View((items, outs, height, width, rows, columns)), value)
    value = edit.emit(ops.Transpose((0, 1, 4, 2, 5, 3)), value, origin=node.origin)
    view = ops.View((items, outs, rows * height, columns * width))
    if op.activation is not None:
        value = edit.emit(view, value)
    edit.now[node.output] = edit.emit(op.activation or view, value, origin=node.origin)
    return True
