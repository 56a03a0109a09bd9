"""Operators that move elements and compute nothing: views, order of axes, joining, cutting, padding, picking, repeating.

Those that only move keep the quantization of their input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from devices.native.ir import GraphError, Layout, Op, Quantization, Type


@dataclass(frozen=True, slots=True)
class View(Op):
    """The same bytes under another shape, layout or quantization. Costs nothing."""

    shape: tuple[int, ...]
    layout: Layout = "nchw"
    quantization: Quantization | None = None

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if prod(self.shape) != prod(x.shape):
            raise GraphError(f"reshape: expected a shape of {prod(x.shape)} elements, got {list(self.shape)} for {x}")
        return Type(x.dtype, self.shape, self.layout, self.quantization)

    def rebatched(self, batch: int) -> Op:
        return replace(self, shape=(self.shape[0] * batch, *self.shape[1:])) if self.shape else self


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Output axis i is input axis perm[i]; `layout` is what the output's axes then mean."""

    perm: tuple[int, ...]
    layout: Layout = "nchw"

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if sorted(self.perm) != list(range(x.rank)):
            raise GraphError(f"transpose: expected an order of the {x.rank} axes of {x}, got {list(self.perm)}")
        quantization = x.quantization
        if quantization is not None and quantization.axis is not None:
            quantization = replace(quantization, axis=self.perm.index(quantization.axis))
        return Type(x.dtype, tuple(x.shape[axis] for axis in self.perm), self.layout, quantization)


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """The inputs one after another along an axis. Quantized inputs have one quantization."""

    axis: int

    def infer(self, *inputs: Type) -> Type:
        first = inputs[0]
        if not 0 <= self.axis < first.rank:
            raise GraphError(f"concat: expected an axis of {first}, got {self.axis}")
        around = [(item.dtype, item.layout, item.quantization, item.shape[: self.axis], item.shape[self.axis + 1 :]) for item in inputs]
        if len(set(around)) > 1 or len({item.rank for item in inputs}) > 1:
            raise GraphError(f"concat: expected inputs that differ along axis {self.axis} only, got {', '.join(map(str, inputs))}")
        shape = list(first.shape)
        shape[self.axis] = sum(item.shape[self.axis] for item in inputs)
        return first.shaped(shape)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return replace(self, axis=perm.index(self.axis))


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """Along each of `axes`, `counts` elements from `starts` in `steps` (which may be negative)."""

    axes: tuple[int, ...]
    starts: tuple[int, ...]
    steps: tuple[int, ...]
    counts: tuple[int, ...]

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        shape = list(x.shape)
        if len(set(self.axes)) != len(self.axes):
            raise GraphError(f"slice: expected each axis once, got {list(self.axes)}")
        for axis, start, step, count in zip(self.axes, self.starts, self.steps, self.counts, strict=True):
            last = start + step * (count - 1)
            if not 0 <= axis < x.rank or step == 0 or count < 0 or (count and not (0 <= start < shape[axis] and 0 <= last < shape[axis])):
                raise GraphError(f"slice: expected elements inside {x}, got {count} of axis {axis} from {start} in steps of {step}")
            shape[axis] = count
        return x.shaped(shape)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return replace(self, axes=tuple(perm.index(axis) for axis in self.axes))


PadMode = Literal["constant", "reflect", "edge", "wrap"]


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """Elements added (or, with negative numbers, taken) before and after along each axis. `value` is as stored."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: PadMode = "constant"
    value: float = 0.0

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if len(self.before) != x.rank or len(self.after) != x.rank:
            raise GraphError(f"pad: expected two numbers for each axis of {x}, got {list(self.before)} and {list(self.after)}")
        shape = tuple(size + low + high for size, low, high in zip(x.shape, self.before, self.after, strict=True))
        if min(shape, default=0) < 0:
            raise GraphError(f"pad: expected at most as many elements taken as there are, got {list(shape)} of {x}")
        if self.mode != "constant" and any(size == 0 for size in x.shape):
            raise GraphError(f"pad: expected an input with elements to repeat, got {x}")
        if self.mode in ("reflect", "wrap"):
            self._check_source(x)
        return x.shaped(shape)

    def _check_source(self, x: Type) -> None:
        for size, low, high in zip(x.shape, self.before, self.after, strict=True):
            most = size - 1 if self.mode == "reflect" else size
            if max(low, high) > most or min(low, high) < 0 < max(low, high):
                raise GraphError(f"pad: expected {self.mode} pads of at most {most}, got {low} and {high} for {x}")

    def moved(self, perm: tuple[int, ...]) -> Op:
        return replace(self, before=tuple(self.before[axis] for axis in perm), after=tuple(self.after[axis] for axis in perm))


@dataclass(frozen=True, slots=True)
class Gather(Op):
    """Inputs x and indices (int32 or int64, negative ones count from the end): numpy.take along an axis."""

    axis: int

    def infer(self, *inputs: Type) -> Type:
        x, indices = inputs
        if not 0 <= self.axis < x.rank or indices.dtype not in ("int32", "int64"):
            raise GraphError(f"gather: expected an axis of {x} and whole numbers, got axis {self.axis} and {indices}")
        if prod(indices.shape) and not x.shape[self.axis]:
            raise GraphError(f"gather: expected elements to pick along axis {self.axis}, got {x}")
        return Type(x.dtype, (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]), "nchw", x.quantization)


@dataclass(frozen=True, slots=True)
class Broadcast(Op):
    """The value repeated to a shape, as numpy.broadcast_to does."""

    shape: tuple[int, ...]

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        added = len(self.shape) - x.rank
        pairs = zip(x.shape, self.shape[max(added, 0) :], strict=True) if added >= 0 else ()
        if added < 0 or any(size not in (1, wanted) for size, wanted in pairs):
            raise GraphError(f"expand: expected a shape that {x} can be broadcast to, got {list(self.shape)}")
        return Type(x.dtype, self.shape, "nchw", x.quantization)

    def rebatched(self, batch: int) -> Op:
        return replace(self, shape=(self.shape[0] * batch, *self.shape[1:])) if self.shape else self


@dataclass(frozen=True, slots=True)
class Tile(Op):
    """The value repeated a number of times along each axis."""

    repeats: tuple[int, ...]

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if len(self.repeats) != x.rank or min(self.repeats, default=0) < 0:
            raise GraphError(f"tile: expected a number of at least 0 for each axis of {x}, got {list(self.repeats)}")
        return x.shaped(size * count for size, count in zip(x.shape, self.repeats, strict=True))

    def moved(self, perm: tuple[int, ...]) -> Op:
        return replace(self, repeats=tuple(self.repeats[axis] for axis in perm))
