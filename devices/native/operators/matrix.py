"""Products of matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.native.ir import GraphError, Op, Type
from devices.native.operators.elementwise import Unary
from devices.native.operators.spatial import need_floats


@dataclass(frozen=True, slots=True)
class Dense(Op):
    """Inputs x (..., K), weight (K, N), bias (N): x @ weight + bias, then the activation."""

    activation: Unary | None = None

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs
        need_floats("dense", *inputs)
        return multiplied("dense", x, weight, bias)


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """The product of two values as numpy.matmul defines it; of integers (int32) too."""

    def infer(self, *inputs: Type) -> Type:
        left, right = inputs
        if left.dtype != right.dtype or left.dtype not in ("float32", "int32", "int64"):
            raise GraphError(f"matmul: expected two values of float32 or of one integer type, got {left} and {right}")
        return Type(left.dtype, product_shape(left, right))


def multiplied(what: str, x: Type, weight: Type, bias: Type) -> Type:
    """The output type of x @ weight + bias, with x's dtype. Raises GraphError."""
    if x.rank < 1 or weight.rank != 2 or x.shape[-1] != weight.shape[0] or bias.shape != (weight.shape[1],):
        raise GraphError(f"{what}: expected x (..., K), weight (K, N) and bias (N), got {x}, {weight}, {bias}")
    return Type(x.dtype, (*x.shape[:-1], weight.shape[1]))


def product_shape(left: Type, right: Type) -> tuple[int, ...]:
    """Raises GraphError."""
    if not left.rank or not right.rank:
        raise GraphError(f"matmul: expected values with axes, got {left} and {right}")
    a = left.shape if left.rank > 1 else (1, *left.shape)
    b = right.shape if right.rank > 1 else (*right.shape, 1)
    if a[-1] != b[-2]:
        raise GraphError(f"matmul: expected inner sizes that are equal, got {left} and {right}")
    try:
        outer = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise GraphError(f"matmul: expected outer sizes that can be broadcast, got {left} and {right}") from None
    return (*outer, *(a[-2:-1] if left.rank > 1 else ()), *(b[-1:] if right.rank > 1 else ()))
