"""Takes batch norms and other products and sums with a constant for each channel into the convolution before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Type
from devices.native.passes.edit import Edit

OUT_AXIS = {ops.Conv: 0, ops.ConvTranspose: 1, ops.Dense: 1}


def fuse_affine(graph: Graph) -> Graph:
    """conv(x, w, b) * s + t -> conv(x, w * s, b * s + t), for constants s and t of one number or one for each output channel."""
    edit = Edit(graph)
    for node in graph.nodes:
        edit.keep(node)
        if not isinstance(node.op, ops.Binary) or node.op.kind not in ("add", "sub", "mul", "div"):
            continue
        for source, other in (node.inputs, node.inputs[::-1]):
            if other == node.inputs[0] and node.op.kind in ("sub", "div"):
                break
            if _fuse(edit, node, source, other):
                break
    return edit.graph()


def _fuse(edit: Edit, node: Node, source: str, other: str) -> bool:
    conv = _last(edit, source)
    told = edit.old.types[source]
    if conv is None or edit.old.types[node.output] != told.plain():
        return False
    weight, bias = (edit.known(name) for name in conv.inputs[1:3])
    number = edit.known(other)
    if weight is None or bias is None or number is None:
        return False
    values = per_channel(number, told if not isinstance(conv.op, ops.Dense) else replace(told, layout="nhwc"))
    if values is None:
        return False
    kind = node.op.kind if isinstance(node.op, ops.Binary) else ""
    with np.errstate(all="ignore"):
        if kind in ("mul", "div"):
            apply = np.multiply if kind == "mul" else np.divide
            weight, bias = apply(weight, _along(conv, weight, values)), apply(bias, values)
        else:
            bias = bias + values if kind == "add" else bias - values
    types = [edit.types[name] for name in conv.inputs]
    del edit.nodes[conv.output]
    inputs = (
        conv.inputs[0], edit.constant(weight.astype(np.float32), types[1], conv.inputs[1]),
        edit.constant(bias.astype(np.float32), types[2], conv.inputs[2]),
    )  # fmt: skip
    edit.put(Node(conv.op, inputs, node.output, conv.origin), conv.op, *inputs)
    return True


def _last(edit: Edit, source: str) -> Node | None:
    """The node that gives a value as it now is, if it is one that an affine function can be taken into."""
    if not edit.only_use(source):
        return None
    node = edit.nodes.get(source)
    if node is None or not isinstance(node.op, ops.Conv | ops.ConvTranspose | ops.Dense) or node.op.activation:
        return None
    return None if isinstance(node.op, ops.Conv) and node.op.residual else node


def per_channel(array: np.ndarray, told: Type) -> np.ndarray | None:
    """The array as one number for each channel of this type, or None where it is not constant along the other axes."""
    if array.size == 1:
        return np.full(told.channels, array.ravel()[0])
    if array.ndim > told.rank or array.size != told.channels:
        return None
    whole = array.reshape((1,) * (told.rank - array.ndim) + array.shape)
    return array.ravel() if whole.shape[told.channel_axis] == told.channels else None


def _along(conv: Node, weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values shaped so that each multiplies the weights of its output channel."""
    axis = OUT_AXIS[type(conv.op)]
    if isinstance(conv.op, ops.ConvTranspose):
        each = weight.shape[1]
        grouped = values.reshape(conv.op.group, 1, each).repeat(weight.shape[0] // conv.op.group, 1)
        return grouped.reshape(weight.shape[0], each, *(1,) * (weight.ndim - 2))
    return values.reshape([-1 if at == axis else 1 for at in range(weight.ndim)])
