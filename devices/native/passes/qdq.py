"""Takes the pairs of quantize and dequantize of a QDQ model into quantized operators.

The fused form rounds once where the pair rounds the float result of the operator: at most one step a layer apart (arXiv:1712.05877).
Movement, clamping and table functions are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Op, Quantization, Type
from devices.native.passes.edit import Edit
from devices.native.reference import evaluate

REAL = Type("float32", (256,))
NOT_STORED = "not all of its inputs are quantized to 8 bits with one scale"
MOVERS = (ops.View, ops.Transpose, ops.Concat, ops.Slice, ops.MaxPool, ops.Gather, ops.Tile, ops.Broadcast)


def fuse_qdq(graph: Graph) -> Graph:
    """The graph with each dequantize -> operator -> quantize that has a quantized form replaced by it."""
    return fused(graph)[0]


def fused(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The same, and by the real values that are still quantized: why what gives them has no quantized form."""
    edit = Edit(graph)
    refused = {}
    for node in graph.nodes:
        if not isinstance(node.op, ops.Quantize):
            edit.keep(node)
        elif why := _quantized(edit, node, node.op.out):
            refused[node.inputs[0]] = why
            edit.keep(node)
    return edit.graph(), refused


def _quantized(edit: Edit, node: Node, out: Quantization) -> str:
    """Emits the quantized form of what a quantize node gives. Where there is none: why."""
    if (stored := stored_of(edit, node.inputs[0])) is not None:
        return _look_up(edit, node, stored, out, None)
    maker = edit.maker(node.inputs[0])
    if maker is None:
        return "its result is not only quantized but read otherwise, too"
    low, high = 0, 255
    if isinstance(maker.op, ops.Unary) and maker.op.kind in ("relu", "clip"):
        before = edit.maker(maker.inputs[0])
        if before is not None and isinstance(before.op, ops.Binary):
            (low, high), maker = _bounds(maker.op, out), before
    match maker.op:
        case ops.Conv() | ops.Dense():
            return _convolution(edit, node, maker, out)
        case ops.Binary(kind="add"):
            pair = [_activation(edit, name) for name in maker.inputs]
            return _put(edit, node, maker, ops.QAdd(out, low, high), pair)
        case ops.Binary(kind="mul") if (low, high) == (0, 255):
            return _put(edit, node, maker, ops.QMul(out), [_activation(edit, name) for name in maker.inputs])
        case ops.Reduce(kind="mean", keep=True) if maker.op.axes == edit.old.types[maker.inputs[0]].spatial_axes and maker.op.axes:
            return _put(edit, node, maker, ops.QMean(out), [stored_of(edit, maker.inputs[0])])
        case ops.AveragePool():
            op = ops.QAveragePool(maker.op.window, out, maker.op.padding_counts, maker.op.overhang)
            return _put(edit, node, maker, op, [stored_of(edit, maker.inputs[0])])
        case ops.Unary():
            stored = stored_of(edit, maker.inputs[0])
            return NOT_STORED if stored is None else _look_up(edit, node, stored, out, maker.op)
        case _ if _moves(maker.op):
            return _move(edit, node, maker, out)
        case _:
            return "it has no form over whole numbers"


def _convolution(edit: Edit, node: Node, conv: Node, out: Quantization) -> str:
    assert isinstance(conv.op, ops.Conv | ops.Dense)
    x, weight = stored_of(edit, conv.inputs[0]), stored_of(edit, conv.inputs[1], "int8")
    activation = conv.op.activation
    if activation is not None and activation.kind not in ("relu", "clip"):
        return f"nothing is quantized before its activation ({activation.kind})"
    if isinstance(conv.op, ops.Conv) and conv.op.residual:
        return NOT_STORED
    if x is None:
        return NOT_STORED
    if weight is None or weight not in edit.constants:
        return "its weights are not constants that are quantized to 8 bits"
    given, weights = edit.types[x].quantization, edit.types[weight].quantization
    assert given is not None
    assert weights is not None
    if weights.axis not in (None, 0 if isinstance(conv.op, ops.Conv) else 1):
        return "its weights are quantized along another axis than that of its outputs"
    bias = whole_bias(edit, conv.inputs[2], np.multiply(given.scale, np.array(weights.scales, np.float32)))
    if bias is None:
        return "its bias is no constant"
    low, high = _bounds(activation, out)
    op = ops.QConv(conv.op.window, out, conv.op.group, low, high) if isinstance(conv.op, ops.Conv) else ops.QDense(out, low, high)
    return _put(edit, node, conv, op, [x, weight, edit.constant(bias, Type("int32", bias.shape), conv.inputs[2])])


def whole_bias(edit: Edit, name: str, steps: np.ndarray) -> np.ndarray | None:
    """A bias in whole steps of scale_x * scale_w: as stored where its own scale says that it is."""
    stored = stored_of(edit, name, "int32")
    if stored is not None and stored in edit.constants:
        told = edit.types[stored].quantization
        assert told is not None
        scales = np.array(told.scales, np.float32)
        if np.allclose(scales, steps, rtol=1e-5, atol=0) and not any(told.zeros):
            return edit.constants[stored]
        real: np.ndarray | None = np.multiply(edit.constants[stored].astype(np.float32), scales)
    else:
        real = edit.known(name)
    if real is None:
        return None
    limits = np.iinfo(np.int32)
    return np.asarray(np.clip(np.rint(real.astype(np.float64) / steps), limits.min, limits.max)).astype(np.int32)


def _moves(op: Op) -> bool:
    return isinstance(op, MOVERS) or (isinstance(op, ops.Resize) and op.mode == "nearest")


def _move(edit: Edit, node: Node, mover: Node, out: Quantization) -> str:
    """Moves the stored values, and gives them the other quantization afterwards if it is another."""
    count = len(mover.inputs) if isinstance(mover.op, ops.Concat) else 1
    parts = [stored_of(edit, name) for name in mover.inputs[:count]]
    if any(part is None for part in parts):
        return NOT_STORED
    if len({edit.types[str(part)].quantization for part in parts}) > 1:
        return "its inputs have different scales or zero points"
    given = edit.types[str(parts[0])].quantization
    op = replace(mover.op, quantization=given) if isinstance(mover.op, ops.View) else mover.op
    if given == out:
        return _put(edit, node, mover, op, [*parts, *mover.inputs[count:]])
    now = [str(part) for part in parts] + [edit.now.get(name, name) for name in mover.inputs[count:]]
    return _look_up(edit, node, edit.emit(op, *now, origin=mover.origin), out, None)


def _look_up(edit: Edit, node: Node, stored: str, out: Quantization, function: ops.Unary | None) -> str:
    """A table, or nothing where the values stay as they are."""
    told = edit.types[stored].quantization
    if function is None and told == out:
        edit.now[node.output] = stored
        return ""
    every = Type("uint8", (256,), quantization=told)
    real = evaluate(ops.Dequantize(), [every], REAL, [np.arange(256, dtype=np.uint8)])
    if function is not None:
        real = evaluate(function, [REAL], REAL, [real])
    entries = evaluate(ops.Quantize(out), [REAL], replace(every, quantization=out), [real])
    return _put(edit, node, node, ops.Table(out), [stored, edit.constant(entries, Type("uint8", (256,)), "table")])


def _put(edit: Edit, node: Node, maker: Node, op: Op, inputs: list[str | None]) -> str:
    if any(name is None for name in inputs):
        return NOT_STORED
    edit.put(Node(op, (), node.output, maker.origin), op, *(str(name) for name in inputs))
    return ""


def stored_of(edit: Edit, name: str, dtype: str = "uint8") -> str | None:
    """The stored value that a real one is dequantized from: with one scale for uint8."""
    node = edit.producers.get(name)
    if node is None or not isinstance(node.op, ops.Dequantize):
        return None
    stored = edit.now.get(node.inputs[0], node.inputs[0])
    told = edit.types[stored]
    fits = told.dtype == dtype and told.quantization is not None and (dtype != "uint8" or told.quantization.axis is None)
    return stored if fits else None


def _activation(edit: Edit, name: str) -> str | None:
    """A stored uint8 value; an int8 constant becomes one."""
    if (stored := stored_of(edit, name)) is not None:
        return stored
    stored = stored_of(edit, name, "int8")
    if stored is None or stored not in edit.constants or edit.types[stored].quantization is None:
        return None
    told = ops.FlipSign().infer(edit.types[stored])
    if told.quantization is None or told.quantization.axis is not None:
        return None
    return edit.constant(evaluate(ops.FlipSign(), [edit.types[stored]], told, [edit.constants[stored]]), told, stored)


def _bounds(activation: ops.Unary | None, out: Quantization) -> tuple[int, int]:
    """The stored values that an activation keeps to: clamping before or after rounding is the same."""
    if activation is None:
        return 0, 255
    low, high = (0.0, np.inf) if activation.kind == "relu" else activation.parameters
    step: Callable[[float], int] = lambda value: int(np.clip(np.rint(np.float32(value) / out.scale) + out.zero, 0, 255))  # noqa: E731
    return min(step(low), step(high)), step(high)
