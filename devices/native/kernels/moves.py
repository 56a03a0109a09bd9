"""Bytes from one place to another: copies with other strides, chosen pixels, pictures."""

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
    elif form == "move":
        _move(frame, int(rest[0]))
    elif form == "widen":
        _widen(frame, int(rest[0]))
    elif form == "quantize_picture":
        _quantize_picture(frame)
    else:
        _picture(frame, 4, lambda value: value)


def _bytes(frame: Frame, source: Region, target: Region, count: Value) -> None:
    """`count` bytes: sixteen at a time, then four, then one by one."""
    code = frame.code
    bulk, words = count & -16, count & -4
    for kind, first, last, step in ((vector(i8, 16), code.const(i64, 0), bulk, 16), (i32, bulk, words, 4), (i8, words, count, 1)):
        with code.each(first, last, step) as i:
            code.store(code.load(kind, source, i), target, i)


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


def _move(frame: Frame, size: int) -> None:
    """Loops of four axes; every second element of a line is taken by vectors, and so are lines without gaps."""
    code, kind = frame.code, {1: i8, 4: i32}[size]
    x, out = frame.buffer("x") + frame.number("start"), frame.buffer("out")
    counts = [frame.number(f"count_{axis}") for axis in (1, 2, 3)]
    steps_x, steps_out = ([frame.number(f"stride_{name}_{axis}") for axis in range(4)] for name in ("x", "out"))
    whole = steps_x[3].equals(size) & steps_out[3].equals(size)
    second = steps_x[3].equals(2 * size) & steps_out[3].equals(size)
    with code.each(frame.begin, frame.end) as row, code.each(0, counts[0]) as i, code.each(0, counts[1]) as j:
        source, target = (place + (row * steps[0] + i * steps[1] + j * steps[2]) for place, steps in ((x, steps_x), (out, steps_out)))
        with code.either(whole) as (gapless, apart):
            with gapless:
                _bytes(frame, source, target, counts[2] * size)
            with apart:
                four = vector(kind, 4)
                bulk = code.select(second, counts[2] & -4, code.const(i64, 0))
                with code.each(0, bulk, 4) as k:
                    pair = [code.load(four, source, k * (2 * size) + 4 * size * half, over=size) for half in (0, 1)]
                    code.store(code.shuffle(pair[0], pair[1], (0, 2, 4, 6)), target, k * size)
                with code.each(bulk, counts[2]) as k:
                    code.store(code.load(kind, source, k * steps_x[3]), target, k * steps_out[3])
    code.finish()


def _widen(frame: Frame, size: int) -> None:
    code, four = frame.code, vector({1: i8, 4: i32}[size], PICTURE)
    x, out = frame.buffer("x"), frame.buffer("out")
    step = frame.number("channels") * size
    lane = code.const(vector(i32, PICTURE), range(PICTURE))
    there = lane < code.splat(frame.number("channels", i32), PICTURE)
    with code.each(frame.begin, frame.end) as row:
        pixel = code.load(four, x, row * step, over=PICTURE * size)
        code.store(code.select(there, pixel, code.const(four, 0)), out, row * (PICTURE * size))
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
