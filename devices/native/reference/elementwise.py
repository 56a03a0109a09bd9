"""Functions of single elements. Results have the inputs' dtype, so float64 inputs give float64 results."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from devices.native.ir import Type
from devices.native.operators.elementwise import Binary, Cast, Unary, Where

_erf = np.vectorize(math.erf, otypes=[np.float64])


def unary(op: Unary, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    p = [x.dtype.type(value) for value in op.parameters] if op.kind != "clip" else []
    match op.kind:
        case "relu":
            y = np.maximum(x, x.dtype.type(0))
        case "clip":
            y = np.clip(x, *_bounds(op.parameters, x.dtype))
        case "sigmoid":
            y = 1 / (1 + np.exp(-x))
        case "silu":
            y = x * (1 / (1 + np.exp(-x)))
        case "hardsigmoid":
            y = np.clip(x * p[0] + p[1], 0, 1)
        case "hardswish":
            y = x * np.clip(x * x.dtype.type(1 / 6) + x.dtype.type(0.5), 0, 1)
        case "leakyrelu":
            y = np.where(x < 0, x * p[0], x)
        case "elu":
            y = np.where(x < 0, np.expm1(np.minimum(x, 0)) * p[0], x)
        case "softplus":
            y = np.logaddexp(x, x.dtype.type(0))
        case "gelu":
            y = _gelu_tanh(x) if p[0] else x * (1 + erf(x / x.dtype.type(math.sqrt(2)))) * x.dtype.type(0.5)
        case "erf":
            y = erf(x)
        case "reciprocal":
            y = 1 / x
        case "round":
            y = np.rint(x)
        case "neg":
            y = np.negative(x)
        case "not":
            y = np.logical_not(x)
        case _:
            y = getattr(np, op.kind)(x)
    return np.asarray(y, x.dtype)


def erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(_erf(x), x.dtype) if x.size else x


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    half, cubic, root = (x.dtype.type(value) for value in (0.5, 0.044715, math.sqrt(2 / math.pi)))
    return np.asarray(half * x * (1 + np.tanh(root * (x + cubic * x * x * x))))


def _bounds(parameters: Sequence[float], dtype: np.dtype) -> tuple[np.generic, np.generic]:
    """The bounds in this dtype; where the low one is above the high one, the high one wins, as in ONNX."""
    low, high = parameters
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (int(min(max(value, limits.min), limits.max)) for value in (low, high))
    return dtype.type(low), dtype.type(high)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if a.dtype.kind == "u":
        return np.asarray(a // b)
    return np.asarray(np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b))


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.power(a if a.dtype.kind == "f" else a.astype(np.float64), b))


BINARY: Mapping[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "pow": _power, "min": np.minimum, "max": np.maximum,
    "mod": np.mod, "fmod": np.fmod, "prelu": lambda x, slope: np.where(x < 0, x * slope, x), "less": np.less,
    "lessequal": np.less_equal, "greater": np.greater, "greaterequal": np.greater_equal, "equal": np.equal, "and": np.logical_and,
    "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip


def binary(op: Binary, types: Sequence[Type], out: Type, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(BINARY[op.kind](a, b), bool if out.dtype == "bool" else a.dtype)


def where(op: Where, types: Sequence[Type], out: Type, condition: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    return np.where(condition, yes, no)


def cast(op: Cast, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    if op.dtype == "float32" and x.dtype == np.float64:
        return x
    return x.astype(op.dtype)
