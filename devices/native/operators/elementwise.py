"""Operators that compute each element by itself: functions of one value, of two, choice, conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from devices.native.ir import GraphError, Layout, Op, Type

UnaryKind = Literal[
    "relu", "clip", "sigmoid", "silu", "hardsigmoid", "hardswish", "tanh", "leakyrelu", "elu", "softplus", "gelu", "erf", "exp", "log",
    "sqrt", "neg", "abs", "floor", "ceil", "round", "reciprocal", "sin", "cos", "sign", "not",
]  # fmt: skip
BinaryKind = Literal[
    "add", "sub", "mul", "div", "pow", "min", "max", "mod", "fmod", "prelu", "less", "lessequal", "greater", "greaterequal", "equal", "and",
    "or", "xor",
]  # fmt: skip

COMPARISONS = frozenset({"less", "lessequal", "greater", "greaterequal", "equal"})
LOGIC = frozenset({"and", "or", "xor", "not"})
FLOAT_ONLY = frozenset({
    "sigmoid", "silu", "hardsigmoid", "hardswish", "tanh", "leakyrelu", "elu", "softplus", "gelu", "erf", "exp", "log", "sqrt", "floor",
    "ceil", "round", "reciprocal", "sin", "cos",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unary(Op):
    """A function of one value. `silu` is x * sigmoid(x), `not` is logical. Parameters: clip (low, high); hardsigmoid (alpha, beta):
    max(0, min(1, alpha x + beta)); leakyrelu and elu (alpha); gelu (0: by erf, 1: by tanh)."""

    kind: UnaryKind
    parameters: tuple[float, ...] = ()
    in_place: ClassVar[tuple[int, ...]] = (0,)

    def __post_init__(self) -> None:
        if self.kind not in get_args(UnaryKind):
            raise GraphError(f"expected a function of one value that is known, got {self.kind!r}")
        count = {"clip": 2, "hardsigmoid": 2, "leakyrelu": 1, "elu": 1, "gelu": 1}.get(self.kind, 0)
        if len(self.parameters) != count:
            raise GraphError(f"{self.kind}: expected {count} parameters, got {len(self.parameters)}")
        if any(value != value for value in self.parameters):
            raise GraphError(f"{self.kind}: expected parameters that are numbers, got {self.parameters}")

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if self.kind in FLOAT_ONLY and x.dtype != "float32":
            raise GraphError(f"{self.kind}: expected float32, got {x}")
        if (self.kind == "not") != (x.dtype == "bool"):
            raise GraphError(f"{self.kind}: expected {'bool' if self.kind == 'not' else 'numbers'}, got {x}")
        return x.plain()

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


@dataclass(frozen=True, slots=True)
class Binary(Op):
    """A function of two values whose shapes are broadcast as NumPy does. `div` of integers truncates, `mod` has the sign of the second
    value and `fmod` of the first; `prelu` is x where x >= 0, else x times the second value."""

    kind: BinaryKind
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    def __post_init__(self) -> None:
        if self.kind not in get_args(BinaryKind):
            raise GraphError(f"expected a function of two values that is known, got {self.kind!r}")

    def infer(self, *inputs: Type) -> Type:
        left, right = inputs
        if left.dtype != right.dtype:
            raise GraphError(f"{self.kind}: expected equal element types, got {left} and {right}")
        if self.kind not in ("equal",) and (self.kind in LOGIC) != (left.dtype == "bool"):
            raise GraphError(f"{self.kind}: expected {'bool' if self.kind in LOGIC else 'numbers'}, got {left}")
        return Type("bool" if self.kind in COMPARISONS else left.dtype, *broadcast(self.kind, left, right))

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


@dataclass(frozen=True, slots=True)
class Where(Op):
    """The second value where the first (bool) is true, else the third; shapes are broadcast."""

    def infer(self, *inputs: Type) -> Type:
        condition, yes, no = inputs
        if condition.dtype != "bool" or yes.dtype != no.dtype:
            raise GraphError(f"where: expected a bool condition and two values of one type, got {condition}, {yes}, {no}")
        return Type(yes.dtype, *broadcast("where", condition, yes, no))


@dataclass(frozen=True, slots=True)
class Cast(Op):
    """The value in another element type; floats are truncated towards zero."""

    dtype: str
    in_place: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, *inputs: Type) -> Type:
        return inputs[0].plain(self.dtype)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


def broadcast(what: str, *inputs: Type) -> tuple[tuple[int, ...], Layout]:
    """Shape and layout of a result over inputs that are broadcast. Raises GraphError."""
    try:
        shape = np.broadcast_shapes(*(item.shape for item in inputs))
    except ValueError:
        raise GraphError(f"{what}: expected shapes that can be broadcast, got {', '.join(map(str, inputs))}") from None
    layouts = {item.layout for item in inputs if item.rank == len(shape) and item.rank > 1 and max(item.shape) > 1}
    if len(layouts) > 1:
        raise GraphError(f"{what}: expected values of one layout, got {', '.join(map(str, inputs))}")
    return shape, next(iter(layouts), "nchw")
