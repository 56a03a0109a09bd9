"""Bytes from one place to another: copies with other strides, chosen pixels, changes between NCHW and NHWC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import Region, Value, f32, i8, i32, i64, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import PICTURE
from devices.native.kernels.pointwise import quantized
from devices.native.kernels.requantize import Output


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    frame = Frame(module, isa, kernel, checked=checked)
    form, *rest = kernel.variant
    if form == "copy":
        _copy(frame)
    elif form == "pick":
        _pick(frame)
    elif form == "quantize_picture":
        _quantize_picture(frame)
    elif form == "picture_f32":
        _picture(frame, 4, lambda value: value)
    else:
        _transpose(frame, int(rest[0]), to_channels_last=form == "nchw_to_nhwc")


def _bytes(frame: Frame, source: Region, target: Region, count: Value) -> None:
    """`count` bytes: sixteen at a time, then one by one."""
    code = frame.code
    bulk = count & -16
    with code.each(0, bulk, 16) as i:
        code.store(code.load(vector(i8, 16), source, i), target, i)
    with code.each(bulk, count) as i:
        code.store(code.load(i8, source, i), target, i)


def _copy(frame: Frame) -> None:
    code = frame.code
    x, out, count = frame.buffer("x"), frame.buffer("out"), frame.number("bytes")
    step_x, step_out = frame.number("stride_x"), frame.number("stride_out")
    with code.each(frame.begin, frame.end) as row:
        _bytes(frame, x + row * step_x, out + row * step_out, count)
    code.finish()


def _pick(frame: Frame) -> None:
    code = frame.code
    x, out, count, step = frame.buffer("x"), frame.buffer("out"), frame.number("bytes"), frame.number("stride_out")
    sites = Sites(frame, x, frame.begin * code.greatest(frame.number("width_out"), 1))
    with code.each(frame.begin, frame.end) as row:
        across = sites.row(0)
        with code.each(0, sites.width) as column:
            _bytes(frame, sites.tap(across, sites.column(0, column)), out + (row * sites.width + column) * step, count)
        sites.next_row()
    code.finish()


def _transpose(frame: Frame, size: int, *, to_channels_last: bool) -> None:
    """Rows are pixels; the image of a row is row // pixels."""
    code, kind = frame.code, i8 if size == 1 else i32
    x, out = frame.buffer("x"), frame.buffer("out")
    channels, count, stride = frame.number("channels"), code.greatest(frame.number("pixels"), 1), frame.number("stride")
    with code.each(0, channels) as c:
        image = code.variable(frame.begin // count)
        pixel = code.variable(frame.begin - image.get() * count)
        with code.each(frame.begin, frame.end) as row:
            plane = ((image.get() * channels + c) * count + pixel.get()) * size
            packed = row * stride + c * size
            if to_channels_last:
                code.store(code.load(kind, x, plane), out, packed)
            else:
                code.store(code.load(kind, x, packed), out, plane)
            pixel.set(pixel.get() + 1)
            with code.when(pixel.get() >= count):
                pixel.set(code.const(i64, 0))
                image.set(image.get() + 1)
    code.finish()


def _picture(frame: Frame, size: int, level: Callable[[Value], Value]) -> None:
    """float32 NCHW to a picture of `size` bytes an element, `level` of each; rows are images. A vector of pixels at a time."""
    code = frame.code
    x, out, channels, count = frame.buffer("x"), frame.buffer("out"), frame.number("channels"), frame.number("pixels")
    lanes = code.isa.vector // 4
    none = code.const(vector(f32, lanes), 0.0)
    with code.each(frame.begin, frame.end) as image:
        source, target = x + image * channels * count * 4, out + image * count * (PICTURE * size)
        # A plane that the picture does not have is its first one, made zero.
        there = [channels > c for c in range(PICTURE)]
        planes = [source + code.select(has, code.const(i64, c), code.const(i64, 0)) * count * 4 for c, has in enumerate(there)]
        bulk = count - (count & (lanes - 1))
        with code.each(0, bulk, lanes) as pixel:
            place = pixel << 2
            rows = [level(code.select(has, code.load(vector(f32, lanes), p, place), none)) for has, p in zip(there, planes, strict=True)]
            code.store(_woven(frame, rows), target, place * size)
        with code.each(bulk, count) as pixel:
            place = pixel << 2
            for c, (has, plane) in enumerate(zip(there, planes, strict=True)):
                value = level(code.select(has, code.splat(code.load(f32, plane, place), lanes), none))
                code.store(code.pick(value, 0), target, (place + c) * size)
    code.finish()


def _quantize_picture(frame: Frame) -> None:
    code = frame.code
    output = Output(code, *(frame.number(name, i32) for name in ("zero", "low", "high")))
    scale = code.splat(frame.real("scale"), code.isa.vector // 4)
    _picture(frame, 1, lambda value: output.bytes([quantized(frame, value, scale)])[0])


def _woven(frame: Frame, rows: list[Value]) -> Value:
    """Four vectors, element by element in turn."""
    code, count = frame.code, frame.isa.vector // 4
    both = code.join(*rows)
    return code.shuffle(both, both, [c * count + i for i in range(count) for c in range(PICTURE)])
