"""Functions of float32 vectors: exponential and the activations made of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from devices.native.kernels.emit import Code, Value, f32, i32, lanes, vector
from devices.native.kernels.requantize import MAGIC

EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""Minimax polynomial of (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2: expf of the Cephes library (Moshier 1989)."""
ERFC = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
LOWEST, HIGHEST = -87.33654, 88.02
"""Past these exp leaves the normal numbers of float32: results are held to exp of the bound."""

Curve = Callable[[Code, Value, Value, Value], Value]


def exp(code: Code, x: Value) -> Value:
    """exp(x) within 2 units in the last place; x is held to LOWEST … HIGHEST."""
    x = code.least(code.greatest(x, LOWEST), HIGHEST)
    number = partial(code.const, x.type)
    shifted = code.fma(x, number(1.44269504088896341), number(MAGIC))
    whole = shifted - MAGIC
    r = code.fma(whole, number(2.12194440e-4), code.fma(whole, number(-0.693359375), x))
    result = number(EXP[0])
    for term in EXP[1:]:
        result = code.fma(result, r, number(term))
    result = code.fma(result, r * r, r) + 1.0
    # The whole number lies in the low bits of MAGIC + whole; moved to the exponent it multiplies by a power of two.
    kind = vector(i32, lanes(x.type))
    return result * code.bits((code.bits(shifted, kind) << 23) + 0x3F800000, vector(f32, lanes(x.type)))


def _clamp(code: Code, x: Value, low: Value, high: Value) -> Value:
    return code.least(code.greatest(x, low), high)


def _sigmoid(code: Code, x: Value, low: Value, high: Value) -> Value:
    one = code.const(x.type, 1.0)
    return one / (exp(code, x * -1.0) + 1.0)


def _tanh(code: Code, x: Value, low: Value, high: Value) -> Value:
    """1 - 2 / (exp(2x) + 1); near 0, where that would cancel, x - x^3 / 3 + 2 x^5 / 15."""
    one = code.const(x.type, 1.0)
    far = one - code.const(x.type, 2.0) / (exp(code, x * 2.0) + 1.0)
    square = x * x
    near = x * (square * (square * (2 / 15) - 1 / 3) + 1.0)
    return code.select(square < 0.01, near, far)


def _erfc(code: Code, x: Value) -> Value:
    """1 - erf(x) for x >= 0, within 2e-7: formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions (1964)."""
    t = code.const(x.type, 1.0) / (x * 0.3275911 + 1.0)
    result = code.const(x.type, ERFC[0])
    for term in ERFC[1:]:
        result = code.fma(result, t, code.const(x.type, term))
    return result * t * exp(code, x * x * -1.0)


def _erf(code: Code, x: Value, low: Value, high: Value) -> Value:
    """Near 0, where 1 - erfc would cancel, its series."""
    size = code.greatest(x, x * -1.0)
    far = code.const(x.type, 1.0) - _erfc(code, size)
    square = x * x
    near = x * (square * (square * 0.112837917 - 0.376126389) + 1.128379167)
    return code.select(square < 0.01, near, code.select(x < 0.0, far * -1.0, far))


def _gelu(code: Code, x: Value, low: Value, high: Value) -> Value:
    """x / 2 * erfc(-x / sqrt(2)) (arXiv:1606.08415)."""
    scaled = x * 0.70710678118654752
    tail = _erfc(code, code.greatest(scaled, scaled * -1.0))
    return x * 0.5 * code.select(x < 0.0, tail, code.const(x.type, 2.0) - tail)


def _leaky(code: Code, x: Value, low: Value, high: Value) -> Value:
    """x, or low * x below 0."""
    return code.select(x < 0.0, x * low, x)


CURVES: dict[str, Curve] = {
    "clamp_f32": _clamp,
    "sigmoid_f32": _sigmoid,
    "tanh_f32": _tanh,
    "silu_f32": lambda code, x, low, high: x / (exp(code, x * -1.0) + 1.0),
    "erf_f32": _erf,
    "gelu_f32": _gelu,
    "hard_sigmoid_f32": lambda code, x, low, high: code.least(code.greatest(x * low + high, 0.0), 1.0),
    "hard_swish_f32": lambda code, x, low, high: x * code.least(code.greatest(x * (1 / 6) + 0.5, 0.0), 1.0),
    "leaky_relu_f32": _leaky,
    "exp_f32": lambda code, x, low, high: exp(code, x),
    "sqrt_f32": lambda code, x, low, high: code.call(f"llvm.sqrt.v{lanes(x.type)}f32", x.type, x),
}
"""By kernel name. `low` and `high` are words of the kernel: bounds of clamp, slope of leaky ReLU, alpha and beta of the hard sigmoid."""
