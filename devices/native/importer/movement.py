"""Operators that move elements, and those that tell of shapes or make constants."""

# Each public function reads the ONNX operators that `table.py` names it for, as ONNX defines them.
# ruff: noqa: D103

from __future__ import annotations

from math import prod
from typing import cast, get_args

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source, axes_of, axis_of, whole
from devices.native.ir import MAX_BYTES, MAX_RANK, GraphError, Type
from devices.native.operators.movement import PadMode


def reshape(b: Builder, node: Source) -> str:
    x = node.input(0)
    told, wanted = b.types[x], list(whole(b.known(node.input(1), "sizes"), "shape"))
    if len(wanted) > MAX_RANK or wanted.count(-1) > 1 or any(size < -1 for size in wanted):
        raise GraphError(f"expected at most {MAX_RANK} sizes, one of them -1, got {wanted}")
    for axis, size in enumerate(wanted):
        if size == 0 and not node.integer("allowzero", 0):
            if axis >= told.rank:
                raise GraphError(f"expected a size for axis {axis}, which {told} does not have, got 0")
            wanted[axis] = told.shape[axis]
    if -1 in wanted:
        rest = prod(size for size in wanted if size != -1)
        if not rest or prod(told.shape) % rest:
            raise GraphError(f"expected a shape of {prod(told.shape)} elements, got {wanted}")
        wanted[wanted.index(-1)] = prod(told.shape) // rest
    return view(b, x, wanted)


def flatten(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    axis = node.integer("axis", 1)
    axis = axis if axis == told.rank else axis_of(axis, max(told.rank, 1))
    return view(b, x, [prod(told.shape[:axis]), prod(told.shape[axis:])])


def squeeze(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    axes = axes_of(_axes(b, node, 13) or tuple(axis for axis, size in enumerate(told.shape) if size == 1), told.rank)
    if any(told.shape[axis] != 1 for axis in axes):
        raise GraphError(f"expected axes of size 1, got axes {list(axes)} of {told}")
    return view(b, x, [size for axis, size in enumerate(told.shape) if axis not in axes])


def unsqueeze(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    axes = _axes(b, node, 13) or ()
    rank = told.rank + len(axes)
    if rank > MAX_RANK:
        raise GraphError(f"expected at most {MAX_RANK} axes, got {rank}")
    axes = axes_of(axes, rank)
    sizes = iter(told.shape)
    return view(b, x, [1 if axis in axes else next(sizes) for axis in range(rank)])


def view(b: Builder, x: str, shape: list[int]) -> str:
    told = b.types[x]
    kept = told.quantization if told.quantization and told.quantization.axis is None else None
    return x if tuple(shape) == told.shape else b.add(ops.View(tuple(shape), quantization=kept), x)


def _axes(b: Builder, node: Source, since: int) -> tuple[int, ...] | None:
    """Axes as an attribute, and from version `since` on as the second input."""
    if node.version < since:
        return node.integers("axes") if node.has("axes") else None
    name = node.optional(1)
    return None if name is None else whole(b.known(name, "axes"), "axes")


def transpose(b: Builder, node: Source) -> str:
    rank = b.types[node.input(0)].rank
    perm = node.integers("perm", tuple(reversed(range(rank))))
    return node.input(0) if perm == tuple(range(rank)) else b.add(ops.Transpose(perm), node.input(0))


def concat(b: Builder, node: Source) -> str:
    parts = [node.input(index) for index in range(len(node.inputs))]
    axis = axis_of(node.integer("axis", 1), b.types[parts[0]].rank)
    if len({b.types[part].quantization for part in parts}) > 1:
        parts = [b.add(ops.View(b.types[part].shape, b.types[part].layout), part) for part in parts]
    return parts[0] if len(parts) == 1 else b.add(ops.Concat(axis), *parts)


def cut(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    if node.version < 10:
        starts, ends = node.integers("starts"), node.integers("ends")
        axes, steps = node.integers("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = (whole(b.known(node.input(index), "starts and ends"), "starts and ends") for index in (1, 2))
        third, fourth = node.optional(3), node.optional(4)
        axes = tuple(range(len(starts))) if third is None else whole(b.known(third, "axes"), "axes")
        steps = (1,) * len(starts) if fourth is None else whole(b.known(fourth, "steps"), "steps")
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError(f"expected a start, an end and a step other than 0 for each axis, got {starts}, {ends}, {steps} for {axes}")
    axes = axes_of(axes, told.rank)
    found = [
        (axis, span.start, span.step, len(span))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
        if (span := range(*slice(start, end, step).indices(told.shape[axis]))) != range(told.shape[axis])
    ]
    return b.add(ops.Slice(*(tuple(column) for column in zip(*found, strict=True))), x) if found else x


def split(b: Builder, node: Source) -> list[str]:
    x, told = node.input(0), b.types[node.input(0)]
    axis = axis_of(node.integer("axis", 0), told.rank)
    size, count = told.shape[axis], len(node.outputs)
    given = node.optional(1) if node.version >= 13 else None
    if node.version < 13 and node.has("split"):
        parts = node.integers("split")
    elif given is not None:
        parts = whole(b.known(given, "split"), "split")
    else:
        count = node.integer("num_outputs", count)
        each = -(-size // max(count, 1))
        parts = (each,) * (count - 1) + (size - each * (count - 1),)
    if len(parts) != len(node.outputs) or sum(parts) != size or min(parts) < 0:
        raise GraphError(f"expected {len(node.outputs)} parts that add up to {size}, got {list(parts)}")
    starts = [sum(parts[:index]) for index in range(len(parts))]
    return [b.add(ops.Slice((axis,), (start if part else 0,), (1,), (part,)), x) for start, part in zip(starts, parts, strict=True)]


def pad(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    mode = node.text("mode", "constant")
    if mode not in get_args(PadMode):
        raise GraphError(f"mode: expected {', '.join(get_args(PadMode))}, got {mode!r}")
    value: float = 0.0
    axes = tuple(range(told.rank))
    if node.version < 11:
        pads, value = node.integers("pads"), node.real("value", 0.0)
    else:
        pads = whole(b.known(node.input(1), "pads").ravel(), "pads")
        if (given := node.optional(2)) is not None and mode == "constant":
            value = b.known(given, "values").item()
        if (given := node.optional(3)) is not None:
            axes = axes_of(whole(b.known(given, "axes"), "axes"), told.rank)
    if len(pads) != 2 * len(axes):
        raise GraphError(f"expected two pads for each of {len(axes)} axes, got {list(pads)}")
    before, after = [0] * told.rank, [0] * told.rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[index + len(axes)]
    return b.add(ops.Pad(tuple(before), tuple(after), cast(PadMode, mode), value), x) if any(pads) else x


def gather(b: Builder, node: Source) -> str:
    x, indices = node.input(0), node.input(1)
    axis = axis_of(node.integer("axis", 0), b.types[x].rank)
    if indices in b.constants:
        size, found = b.types[x].shape[axis], b.constants[indices]
        if found.size and found.dtype.kind == "i" and not -size <= found.min() <= found.max() < size:
            raise GraphError(f"expected indices from {-size} to {size - 1}, got {found.min()} to {found.max()}")
    return b.add(ops.Gather(axis), x, indices)


def expand(b: Builder, node: Source) -> str:
    x, told = node.input(0), b.types[node.input(0)]
    wanted = whole(b.known(node.input(1), "sizes"), "shape")
    if any(size < 0 for size in wanted):
        raise GraphError(f"expected sizes of at least 0, got {list(wanted)}")
    try:
        shape = np.broadcast_shapes(told.shape, wanted)
    except ValueError:
        raise GraphError(f"expected a shape that {told} can be broadcast to, got {list(wanted)}") from None
    return x if shape == told.shape else b.add(ops.Broadcast(shape), x)


def tile(b: Builder, node: Source) -> str:
    return b.add(ops.Tile(whole(b.known(node.input(1), "repeats"), "repeats")), node.input(0))


def shape(b: Builder, node: Source) -> str:
    sizes = b.types[node.input(0)].shape
    start, end, _ = slice(node.integer("start", 0), node.integer("end", len(sizes))).indices(len(sizes))
    return b.constant(np.array(sizes[start:end], np.int64), "shape")


def size(b: Builder, node: Source) -> str:
    return b.constant(np.array(prod(b.types[node.input(0)].shape), np.int64), "size")


def constant_of_shape(b: Builder, node: Source) -> str:
    wanted = whole(b.known(node.input(0), "sizes"), "shape")
    value = node.tensor("value") if node.has("value") else None
    filled = np.zeros(1, np.float32) if value is None else tensor(value)
    if filled.size != 1:
        raise GraphError(f"expected a value of one element, got {list(filled.shape)}")
    told = Type(filled.dtype.name, wanted)
    return b.constant(np.full(told.shape, filled.ravel()[0]), "filled")


def constant(b: Builder, node: Source) -> str:
    kinds = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    for name, dtype in kinds.items():
        if node.has(name):
            values = {"value_float": node.real, "value_int": node.integer}.get(name)
            read = node.reals if name == "value_floats" else node.integers
            return b.constant(np.array(values(name, 0) if values else read(name), dtype), "constant")
    if not node.has("value"):
        raise node.unsupported("without numbers")
    return b.constant(tensor(node.tensor("value")), "constant")


def tensor(proto: object) -> np.ndarray:
    """The elements of a tensor that lies in the file. Raises GraphError."""
    from onnx import numpy_helper

    if getattr(proto, "data_location", 0):
        raise GraphError("expected a tensor inside the file, got external data")
    try:
        return numpy_helper.to_array(proto)  # type: ignore[no-any-return]
    except (ValueError, TypeError) as error:
        raise GraphError(f"expected a tensor whose data fit its shape, got: {error}") from None


def sequence(b: Builder, node: Source) -> str:
    """Range."""
    start, limit, delta = (b.known(node.input(index), "bounds") for index in range(3))
    if any(item.size != 1 or not np.isfinite(item).all() for item in (start, limit, delta)) or not delta.item():
        raise GraphError("expected start, limit and a delta other than 0, one finite number each")
    count = max(0, float(np.ceil((limit.item() - start.item()) / delta.item())))
    if not count * start.dtype.itemsize <= MAX_BYTES:
        raise GraphError(f"expected at most {MAX_BYTES} bytes, got {count:g} elements")
    return b.constant((start.item() + np.arange(int(count)) * delta.item()).astype(start.dtype), "bounds")
