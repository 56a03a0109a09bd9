"""Reductions, largest element, softmax, norms."""

# Each public function reads the ONNX operators that `table.py` names it for, as ONNX defines them.
# ruff: noqa: D103

from __future__ import annotations

from math import prod

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source, axes_of, axis_of, whole
from devices.native.ir import GraphError
from devices.native.operators.reduction import ReduceKind

KINDS: dict[str, ReduceKind] = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod", "ReduceL1": "l1",
    "ReduceL2": "l2", "ReduceSumSquare": "sumsquare", "ReduceLogSum": "logsum", "ReduceLogSumExp": "logsumexp",
}  # fmt: skip


def reduce(b: Builder, node: Source) -> str:
    x, rank = node.input(0), b.types[node.input(0)].rank
    if node.version < (13 if node.operator == "ReduceSum" else 18):
        axes = node.integers("axes", tuple(range(rank)))
    else:
        given = node.optional(1)
        axes = () if given is None else whole(b.known(given, "axes"), "axes")
        if not axes and node.integer("noop_with_empty_axes", 0):
            return x
        axes = axes or tuple(range(rank))
    return b.add(ops.Reduce(KINDS[node.operator], tuple(sorted(axes_of(axes, rank))), bool(node.integer("keepdims", 1))), x)


def arg(b: Builder, node: Source) -> str:
    x, rank = node.input(0), b.types[node.input(0)].rank
    kind = "max" if node.operator == "ArgMax" else "min"
    keep, last = bool(node.integer("keepdims", 1)), bool(node.integer("select_last_index", 0))
    return b.add(ops.Arg(kind, axis_of(node.integer("axis", 0), rank), keep, last), x)  # type: ignore[arg-type]


def softmax(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    log = node.operator == "LogSoftmax"
    if node.version >= 13:
        return b.add(ops.Softmax(axis_of(node.integer("axis", -1), told.rank), log), x)
    # Before version 13 the operator saw a matrix: all axes from the given one on are one.
    axis = axis_of(node.integer("axis", 1), told.rank)
    if axis == told.rank - 1:
        return b.add(ops.Softmax(axis, log), x)
    matrix = b.add(ops.View((prod(told.shape[:axis]), prod(told.shape[axis:]))), x)
    return b.add(ops.View(told.shape), b.add(ops.Softmax(1, log), matrix))


def batch_norm(b: Builder, node: Source) -> str:
    """x * s + t with s = scale / sqrt(variance + epsilon), t = bias - mean * s."""
    if node.integer("training_mode", 0):
        raise node.unsupported("training_mode=1")
    node.only_output()
    x, scale, bias, mean, variance = (node.input(index) for index in range(5))
    told = b.types[x]
    if told.rank < 2 or any(b.types[item].shape != (told.channels,) for item in (scale, bias, mean, variance)):
        raise GraphError(f"expected four lists of a number for each channel of {told}")
    deviation = b.add(ops.Unary("sqrt"), b.add(ops.Binary("add"), variance, b.scalar(node.real("epsilon", 1e-5))))
    factor = b.add(ops.Binary("div"), scale, deviation)
    shift = b.add(ops.Binary("sub"), bias, b.add(ops.Binary("mul"), mean, factor))
    return _affine(b, x, factor, shift)


def instance_norm(b: Builder, node: Source) -> str:
    x, scale, bias = (node.input(index) for index in range(3))
    told = b.types[x]
    if told.rank < 3 or any(b.types[item].shape != (told.channels,) for item in (scale, bias)):
        raise GraphError(f"expected an image and two lists of a number for each of its channels, got {told}")
    axes = told.spatial_axes
    centred = b.add(ops.Binary("sub"), x, b.add(ops.Reduce("mean", axes), x))
    variance = b.add(ops.Reduce("mean", axes), b.add(ops.Binary("mul"), centred, centred))
    deviation = b.add(ops.Unary("sqrt"), b.add(ops.Binary("add"), variance, b.scalar(node.real("epsilon", 1e-5))))
    return _affine(b, b.add(ops.Binary("div"), centred, deviation), scale, bias)


def _affine(b: Builder, x: str, factor: str, shift: str) -> str:
    """x * factor + shift, each a number for each channel."""
    told = b.types[x]
    shape = (told.channels, *(1,) * (told.rank - 2))
    scaled = b.add(ops.Binary("mul"), x, b.add(ops.View(shape), factor))
    return b.add(ops.Binary("add"), scaled, b.add(ops.View(shape), shift))


def layer_norm(b: Builder, node: Source) -> list[str]:
    x, scale, bias = node.input(0), node.input(1), node.optional(2)
    told = b.types[x]
    axis = axis_of(node.integer("axis", -1), told.rank)
    shape = told.shape[axis:]
    bias = bias or b.scalar(0)
    wide = [item if b.types[item].shape == shape else b.add(ops.Broadcast(shape), item) for item in (scale, bias)]
    epsilon = node.real("epsilon", 1e-5)
    found = [b.add(ops.LayerNorm(axis, epsilon), x, *wide)]
    if any(node.outputs[1:]):
        axes = tuple(range(axis, told.rank))
        mean = b.add(ops.Reduce("mean", axes), x)
        centred = b.add(ops.Binary("sub"), x, mean)
        variance = b.add(ops.Reduce("mean", axes), b.add(ops.Binary("mul"), centred, centred))
        deviation = b.add(ops.Unary("sqrt"), b.add(ops.Binary("add"), variance, b.scalar(epsilon)))
        found += [mean, b.add(ops.Unary("reciprocal"), deviation)]
    return found
