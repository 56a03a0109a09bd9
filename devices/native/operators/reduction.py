"""Operators over all elements along axes: sums and means, largest element, softmax, layer norm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from devices.native.ir import GraphError, Op, Type
from devices.native.operators.spatial import need_floats

ReduceKind = Literal["sum", "mean", "max", "min", "prod", "l1", "l2", "sumsquare", "logsum", "logsumexp"]


@dataclass(frozen=True, slots=True)
class Reduce(Op):
    """Axes brought to one element: kept with size 1, or dropped. The largest of no elements is the lowest value there is."""

    kind: ReduceKind
    axes: tuple[int, ...]
    keep: bool = True

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if self.kind not in get_args(ReduceKind):
            raise GraphError(f"expected a reduction that is known, got {self.kind!r}")
        if any(not 0 <= axis < x.rank for axis in self.axes) or len(set(self.axes)) != len(self.axes):
            raise GraphError(f"{self.kind}: expected axes of {x}, each once, got {list(self.axes)}")
        if self.kind in ("logsum", "logsumexp", "l2") and x.dtype != "float32":
            raise GraphError(f"{self.kind}: expected float32, got {x}")
        if x.dtype == "bool" and self.kind not in ("max", "min"):
            raise GraphError(f"{self.kind}: expected numbers, got {x}")
        if self.kind == "mean" and any(x.shape[axis] == 0 for axis in self.axes):
            raise GraphError(f"{self.kind}: expected elements to reduce, got {x}")
        if self.keep:
            return x.plain().shaped(1 if axis in self.axes else size for axis, size in enumerate(x.shape))
        return Type(x.dtype, tuple(size for axis, size in enumerate(x.shape) if axis not in self.axes))

    def moved(self, perm: tuple[int, ...]) -> Op | None:
        return replace(self, axes=tuple(sorted(perm.index(axis) for axis in self.axes))) if self.keep else None


@dataclass(frozen=True, slots=True)
class Arg(Op):
    """Where the largest (or smallest) element along an axis is (int64): the first such place, or the last."""

    kind: Literal["max", "min"]
    axis: int
    keep: bool = True
    last: bool = False

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if not 0 <= self.axis < x.rank or not x.shape[self.axis] or x.dtype == "bool":
            raise GraphError(f"arg{self.kind}: expected numbers with an axis {self.axis} that has elements, got {x}")
        if self.keep:
            return x.plain("int64").shaped(1 if axis == self.axis else size for axis, size in enumerate(x.shape))
        return Type("int64", tuple(size for axis, size in enumerate(x.shape) if axis != self.axis))

    def moved(self, perm: tuple[int, ...]) -> Op | None:
        return replace(self, axis=perm.index(self.axis)) if self.keep else None


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """exp(x - max) / sum along an axis, or its logarithm."""

    axis: int
    log: bool = False

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        need_floats("softmax", x)
        if not 0 <= self.axis < x.rank:
            raise GraphError(f"softmax: expected an axis of {x}, got {self.axis}")
        return x

    def moved(self, perm: tuple[int, ...]) -> Op:
        return replace(self, axis=perm.index(self.axis))


@dataclass(frozen=True, slots=True)
class LayerNorm(Op):
    """Inputs x, scale, bias (both of the shape of x from `axis` on): (x - mean) / sqrt(variance + epsilon) * scale + bias over these axes
    (arXiv:1607.06450)."""

    axis: int
    epsilon: float

    def infer(self, *inputs: Type) -> Type:
        x, scale, bias = inputs
        need_floats("layer norm", *inputs)
        if not 0 <= self.axis < x.rank or scale.shape != x.shape[self.axis :] or bias.shape != scale.shape:
            raise GraphError(f"layer norm: expected scale and bias of {list(x.shape[self.axis :])}, got {scale} and {bias} for {x}")
        return x
