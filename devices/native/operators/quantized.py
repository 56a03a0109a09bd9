"""Operators over uint8 values with a scale and a zero point (the scheme of arXiv:1712.05877).

Activations are uint8 with one scale, weights int8 with one scale or one for each output channel; sums are exact in int32. An input's
quantization is that of its type, the output's is `out`. s = float32(scale_x * scale_w / scale_out);
y = clamp(round_half_even(float32(sum) * s) + zero_out, low, high).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from devices.native.ir import GraphError, Op, Quantization, Type
from devices.native.operators.elementwise import broadcast
from devices.native.operators.matrix import multiplied
from devices.native.operators.spatial import Window, convolved, need_floats, pooled


@dataclass(frozen=True, slots=True)
class Quantize(Op):
    """float32 -> uint8: clamp(round_half_even(x / scale) + zero, 0, 255)."""

    out: Quantization

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        need_floats("quantize", x)
        return replace(x, dtype="uint8", quantization=self.out)

    def moved(self, perm: tuple[int, ...]) -> Op | None:
        return self if self.out.axis is None else None


@dataclass(frozen=True, slots=True)
class Dequantize(Op):
    """A quantized value (uint8, int8 or int32) -> float32: float32(x - zero) * scale."""

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if x.quantization is None:
            raise GraphError(f"dequantize: expected a quantized value, got {x}")
        return x.plain("float32")

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


@dataclass(frozen=True, slots=True)
class FlipSign(Op):
    """int8 -> uint8 by adding 128, and back. The zero point moves along."""

    in_place: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if x.dtype not in ("uint8", "int8"):
            raise GraphError(f"flip sign: expected uint8 or int8, got {x}")
        shift = 128 if x.dtype == "int8" else -128
        q = x.quantization
        moved = None if q is None else replace(q, zeros=tuple(zero + shift for zero in q.zeros))
        return replace(x, dtype="uint8" if x.dtype == "int8" else "int8", quantization=moved)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


@dataclass(frozen=True, slots=True)
class QConv(Op):
    """Inputs x, weight (int8, quantized along its first axis or as a whole), bias (int32, in steps of scale_x * scale_w)."""

    window: Window
    out: Quantization
    group: int = 1
    low: int = 0
    high: int = 255

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs
        check_quantized("quantized conv", x, weight, bias)
        check_range("quantized conv", self.low, self.high)
        return replace(convolved("quantized conv", self.window, self.group, x, weight, bias), quantization=self.out)


@dataclass(frozen=True, slots=True)
class QDense(Op):
    """Inputs x (..., K), weight (K, N) (int8, quantized along its second axis or as a whole), bias (N) (int32, in steps of
    scale_x * scale_w)."""

    out: Quantization
    low: int = 0
    high: int = 255

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs
        check_quantized("quantized dense", x, weight, bias, axis=1)
        check_range("quantized dense", self.low, self.high)
        return replace(multiplied("quantized dense", x, weight, bias), quantization=self.out)


@dataclass(frozen=True, slots=True)
class RealConv(Op):
    """Inputs as of `QConv`: float32(sum) * float32(scale_x * scale_w), in float32."""

    window: Window
    group: int = 1

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs
        check_quantized("real conv", x, weight, bias)
        return convolved("real conv", self.window, self.group, x, weight, bias).plain("float32")


@dataclass(frozen=True, slots=True)
class RealDense(Op):
    """Inputs as of `QDense`: float32(sum) * float32(scale_x * scale_w), in float32."""

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs
        check_quantized("real dense", x, weight, bias, axis=1)
        return multiplied("real dense", x, weight, bias).plain("float32")


@dataclass(frozen=True, slots=True)
class IntegerConv(Op):
    """Inputs x (uint8), its zero point (uint8, one number) and weight (int8, with its zero points on the type): the int32 sums of
    (x - zero_x) * (w - zero_w)."""

    window: Window
    group: int = 1

    def infer(self, *inputs: Type) -> Type:
        x, zero, weight = inputs
        check_integers("integer conv", x, zero, weight, 0)
        sums = convolved("integer conv", self.window, self.group, x, weight, Type("int32", weight.shape[:1]))
        return sums.plain("int32")


@dataclass(frozen=True, slots=True)
class IntegerDense(Op):
    """Inputs x (..., K) (uint8), its zero point (uint8, one number) and weight (K, N) (int8, with its zero points on the type): the int32
    sums of (x - zero_x) * (w - zero_w)."""

    def infer(self, *inputs: Type) -> Type:
        x, zero, weight = inputs
        check_integers("integer dense", x, zero, weight, 1)
        return multiplied("integer dense", x, weight, Type("int32", weight.shape[1:])).plain("int32")


@dataclass(frozen=True, slots=True)
class QAdd(Op):
    """Two quantized values, broadcast: y = clamp(round_half_even(a * ra + (b * rb + k)), low, high) in float32 with one rounding for each
    product and sum, where ra = scale_a / scale_out, rb = scale_b / scale_out, k = zero_out - (ra * zero_a + (rb * zero_b))."""

    out: Quantization
    low: int = 0
    high: int = 255
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    def infer(self, *inputs: Type) -> Type:
        check_activations("quantized add", *inputs)
        check_range("quantized add", self.low, self.high)
        return Type("uint8", *broadcast("quantized add", *inputs), self.out)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


@dataclass(frozen=True, slots=True)
class QMul(Op):
    """Two quantized values, broadcast: y = clamp(round_half_even((a - zero_a) * (b - zero_b) * s) + zero_out), s = float32(scale_a *
    scale_b / scale_out)."""

    out: Quantization
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    def infer(self, *inputs: Type) -> Type:
        check_activations("quantized mul", *inputs)
        return Type("uint8", *broadcast("quantized mul", *inputs), self.out)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


@dataclass(frozen=True, slots=True)
class QMean(Op):
    """The mean over the spatial axes, which stay with size 1: y = clamp(round_half_even(sum(x - zero_x) * s) + zero_out),
    s = float32(scale_x / (scale_out * count))."""

    out: Quantization

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        check_activations("quantized mean", x)
        if x.rank < 3 or 0 in x.shape:
            raise GraphError(f"quantized mean: expected an image, got {x}")
        return replace(x.image(x.channels, [1] * (x.rank - 2)), quantization=self.out)


@dataclass(frozen=True, slots=True)
class QAveragePool(Op):
    """The mean under the window, as AveragePool counts, of (x - zero_x) * scale_x in float32, quantized."""

    window: Window
    out: Quantization
    padding_counts: bool = False
    overhang: tuple[int, ...] = ()

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        check_activations("quantized average pool", x)
        return replace(pooled("quantized average pool", self.window, x), quantization=self.out)


@dataclass(frozen=True, slots=True)
class Table(Op):
    """Inputs x (uint8) and 256 uint8 values: any function of one quantized value, looked up."""

    out: Quantization
    in_place: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, *inputs: Type) -> Type:
        x, table = inputs
        if x.dtype != "uint8" or (table.dtype, table.shape) != ("uint8", (256,)):
            raise GraphError(f"table: expected a uint8 value and 256 uint8 entries, got {x} and {table}")
        return replace(x, quantization=self.out)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return self


def check_activations(what: str, *inputs: Type) -> None:
    """Raises GraphError for inputs that are not uint8 with one scale."""
    for x in inputs:
        if x.dtype != "uint8" or x.quantization is None or x.quantization.axis is not None:
            raise GraphError(f"{what}: expected uint8 with one scale, got {x}")


def check_quantized(what: str, x: Type, weight: Type, bias: Type, *, axis: int = 0) -> None:
    """Raises GraphError where the operands of an 8-bit product do not fit together."""
    check_activations(what, x)
    if weight.dtype != "int8" or weight.quantization is None or weight.quantization.axis not in (None, axis):
        raise GraphError(f"{what}: expected an int8 weight with one scale, or one for each output channel, got {weight}")
    if bias.dtype != "int32":
        raise GraphError(f"{what}: expected an int32 bias, got {bias}")


def check_integers(what: str, x: Type, zero: Type, weight: Type, axis: int) -> None:
    """Raises GraphError where the operands of an integer product do not fit together."""
    if x.dtype != "uint8" or zero.dtype != "uint8" or zero.shape not in ((), (1,)):
        raise GraphError(f"{what}: expected uint8 with one zero point, got {x} and {zero}")
    if weight.dtype != "int8" or weight.quantization is None or weight.quantization.axis not in (None, axis):
        raise GraphError(f"{what}: expected an int8 weight with a zero point, got {weight}")


def check_range(what: str, low: int, high: int) -> None:
    """Raises GraphError for bounds that no uint8 lies between."""
    if not 0 <= low <= high <= 255:
        raise GraphError(f"{what}: expected a range inside 0 to 255, got {low} to {high}")
