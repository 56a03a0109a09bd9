"""Sixteen channels at a time as float32 or int32 vectors of the instruction set's width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devices.native.kernels.emit import Code, Region, Value, f32, i8, i32, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.layout import CHANNELS
from devices.native.kernels.requantize import Output


def width(code: Code) -> int:
    """Float32 elements of one vector."""
    return code.isa.vector // 4


def bytes_as_ints(code: Code, value: Value) -> list[Value]:
    """Sixteen bytes as int32 vectors."""
    return [code.unsigned(code.part(value, start, width(code)), i32) for start in range(0, CHANNELS, width(code))]


def load_bytes(code: Code, place: Region, *, over: int = 0) -> list[Value]:
    """Sixteen bytes of memory as float32 vectors; `over` as for `Code.load`."""
    return [code.signed(value, f32) for value in bytes_as_ints(code, code.load(vector(i8, CHANNELS), place, over=over))]


def load_floats(code: Code, place: Region, *, over: int = 0) -> list[Value]:
    """Sixteen float32 of memory as vectors; `over` as for `Code.load`."""
    count = width(code)
    return [code.load(vector(f32, count), place, 4 * start, over=over) for start in range(0, CHANNELS, count)]


def store_floats(code: Code, values: Sequence[Value], place: Region) -> None:
    """Vectors to memory, one after the other."""
    for i, value in enumerate(values):
        code.store(value, place, 4 * i * width(code))


def store_bytes(code: Code, output: Output, values: Sequence[Value], place: Region) -> None:
    """int32 vectors (sixteen elements in all, before the zero point) to sixteen bytes of memory."""
    code.store(code.join(*output.bytes(values)), place)


def output(frame: Frame) -> Output:
    """Zero point and bounds of the words `zero`, `low`, `high`."""
    return Output(frame.code, *(frame.number(name, i32) for name in ("zero", "low", "high")))


@contextmanager
def pixels(frame: Frame) -> Iterator[tuple[Value, Value]]:
    """The body runs for each row and each sixteen of its `channels`: (row, first channel)."""
    code = frame.code
    channels = frame.number("channels")
    with code.each(frame.begin, frame.end) as row, code.each(0, channels, CHANNELS) as channel:
        yield row, channel
    code.finish()
