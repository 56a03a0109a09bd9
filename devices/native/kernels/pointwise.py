"""Element by element: sums and products of two tensors, tables, activations, and changes of number format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels import strips
from devices.native.kernels.curves import CURVES
from devices.native.kernels.emit import Code, Value, i8, i32, i64
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import OVER_READ
from devices.native.kernels.requantize import Output, rounded


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    frame = Frame(module, isa, kernel, checked=checked)
    form = str(kernel.variant[0])
    if form in CURVES:
        _curve(frame, form)
    else:
        FORMS[form](frame)


def _add_u8(frame: Frame) -> None:
    """ONNX Runtime's QLinearAdd as it is compiled for CPUs with fused multiply-add (MLAS, qladd)."""
    code = frame.code
    output = Output(code, code.const(i32, 0), frame.number("low", i32), frame.number("high", i32))
    a, b, out = (frame.buffer(name) for name in ("a", "b", "out"))
    steps = [frame.number(f"stride_{name}") for name in ("a", "b", "out")]
    count = strips.width(code)
    scale_a, scale_b, constant = (code.splat(frame.real(name), count) for name in ("scale_a", "scale_b", "constant"))
    with strips.pixels(frame) as (row, channel):
        first, second = (
            strips.load_bytes(code, a + (row * steps[0] + channel), over=OVER_READ),
            strips.load_bytes(code, b + (row * steps[1] + channel), over=OVER_READ),
        )
        sums = [code.fused(x, scale_a, code.fused(y, scale_b, constant)) for x, y in zip(first, second, strict=True)]
        strips.store_bytes(code, output, [rounded(code, value) for value in sums], out + (row * steps[2] + channel))


def _mul_u8(frame: Frame) -> None:
    code = frame.code
    output = strips.output(frame)
    a, b, out = (frame.buffer(name) for name in ("a", "b", "out"))
    steps = [frame.number(f"stride_{name}") for name in ("a", "b", "out")]
    count = strips.width(code)
    scale, zero_a, zero_b = (code.splat(frame.real(name), count) for name in ("scale", "zero_a", "zero_b"))
    with strips.pixels(frame) as (row, channel):
        first, second = (
            strips.load_bytes(code, a + (row * steps[0] + channel), over=OVER_READ),
            strips.load_bytes(code, b + (row * steps[1] + channel), over=OVER_READ),
        )
        products = [(x - zero_a) * (y - zero_b) * scale for x, y in zip(first, second, strict=True)]
        strips.store_bytes(code, output, [rounded(code, value) for value in products], out + (row * steps[2] + channel))


def _two_f32(operation: Callable[[Code, Value, Value], Value]) -> Callable[[Frame], None]:
    def write(frame: Frame) -> None:
        code = frame.code
        a, b, out = (frame.buffer(name) for name in ("a", "b", "out"))
        steps = [frame.number(f"stride_{name}") for name in ("a", "b", "out")]
        low, high = (code.splat(frame.real(name), strips.width(code)) for name in ("low", "high"))
        with strips.pixels(frame) as (row, channel):
            place = channel << 2
            first, second = (
                strips.load_floats(code, a + (row * steps[0] + place), over=OVER_READ),
                strips.load_floats(code, b + (row * steps[1] + place), over=OVER_READ),
            )
            values = [code.least(code.greatest(operation(code, x, y), low), high) for x, y in zip(first, second, strict=True)]
            strips.store_floats(code, values, out + (row * steps[2] + place))

    return write


def _curve(frame: Frame, name: str) -> None:
    code = frame.code
    x, out = frame.buffer("x"), frame.buffer("out")
    step_x, step_out = frame.number("stride_x"), frame.number("stride_out")
    low, high = (code.splat(frame.real(bound), strips.width(code)) for bound in ("low", "high"))
    with strips.pixels(frame) as (row, channel):
        place = channel << 2
        values = [CURVES[name](code, value, low, high) for value in strips.load_floats(code, x + (row * step_x + place), over=OVER_READ)]
        strips.store_floats(code, values, out + (row * step_out + place))


def _table_u8(frame: Frame) -> None:
    code = frame.code
    x, out, table = (frame.buffer(name) for name in ("x", "out", "table"))
    step_x, step_out = frame.number("stride_x"), frame.number("stride_out")
    with strips.pixels(frame) as (row, channel):
        source, target = x + (row * step_x + channel), out + (row * step_out + channel)
        for i in range(16):
            index = code.unsigned(code.load(i8, source, i), i64)
            code.store(code.load(i8, table, index), target, i)


def _quantize(frame: Frame) -> None:
    code = frame.code
    output = strips.output(frame)
    x, out = frame.buffer("x"), frame.buffer("out")
    step_x, step_out = frame.number("stride_x"), frame.number("stride_out")
    scale = code.splat(frame.real("scale"), strips.width(code))
    with strips.pixels(frame) as (row, channel):
        values = strips.load_floats(code, x + (row * step_x + (channel << 2)), over=OVER_READ)
        strips.store_bytes(code, output, [quantized(frame, value, scale) for value in values], out + (row * step_out + channel))


def quantized(frame: Frame, value: Value, scale: Value) -> Value:
    """int32 rint_even(value / scale), held to what can still differ in a byte; NaN counts as -512."""
    code = frame.code
    return rounded(code, code.least(code.greatest(code.const(value.type, -512.0), value / scale), 512.0))


def _dequantize(frame: Frame) -> None:
    code = frame.code
    x, out = frame.buffer("x"), frame.buffer("out")
    step_x, step_out = frame.number("stride_x"), frame.number("stride_out")
    count = strips.width(code)
    scale, zero = (code.splat(frame.real(name), count) for name in ("scale", "zero"))
    with strips.pixels(frame) as (row, channel):
        values = strips.load_bytes(code, x + (row * step_x + channel), over=OVER_READ)
        strips.store_floats(code, [(value - zero) * scale for value in values], out + (row * step_out + (channel << 2)))


FORMS: dict[str, Callable[[Frame], None]] = {
    "add_u8": _add_u8,
    "mul_u8": _mul_u8,
    "add_f32": _two_f32(lambda code, x, y: x + y),
    "sub_f32": _two_f32(lambda code, x, y: x - y),
    "mul_f32": _two_f32(lambda code, x, y: x * y),
    "div_f32": _two_f32(lambda code, x, y: x / y),
    "prelu_f32": _two_f32(lambda code, x, y: code.select(x < 0.0, x * y, x)),
    "table_u8": _table_u8,
    "quantize": _quantize,
    "dequantize": _dequantize,
}
