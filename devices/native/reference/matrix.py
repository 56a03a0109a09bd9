"""Products of matrices."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.native.ir import Type
from devices.native.operators.matrix import Dense, MatMul
from devices.native.reference.elementwise import unary


def dense(op: Dense, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    y = x @ weight + bias
    return unary(op.activation, types, out, y) if op.activation else y


def matmul(op: MatMul, types: Sequence[Type], out: Type, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.matmul(a, b))
