"""Changes between NCHW and NHWC: blocks of four channels by four pixels are turned in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import Value, i8, i32, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel

BLOCK, BLOCKS = 4, 4
"""Channels and pixels of a block, and blocks side by side: of each channel, the pixels of a cache line."""


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    form, size = kernel.variant
    _Transpose(Frame(module, isa, kernel, checked=checked), int(size), last=form == "nchw_to_nhwc").write()


class _Transpose:
    """`last`: to channels last."""

    def __init__(self, frame: Frame, size: int, *, last: bool) -> None:
        self.frame, self.code, self.size, self.last = frame, frame.code, size, last
        self.kind = i8 if size == 1 else i32
        self.x, self.out = frame.buffer("x"), frame.buffer("out")
        self.channels, self.stride = frame.number("channels"), frame.number("stride")
        self.pixels = self.code.greatest(frame.number("pixels"), 1)

    def write(self) -> None:
        """Rows are pixels; those of one image go together."""
        code = self.code
        first, last = self.frame.begin // self.pixels, (self.frame.end + self.pixels - 1) // self.pixels
        with code.each(first, code.select(self.frame.begin < self.frame.end, last, first)) as image:
            start = image * self.pixels
            begin, end = code.greatest(self.frame.begin, start), code.least(self.frame.end, start + self.pixels)
            whole = begin + ((end - begin) & -(BLOCK * BLOCKS))
            plane = start * self.channels - start
            with code.each(begin, whole, BLOCK * BLOCKS) as row:
                self._each_channel(plane, row, BLOCKS)
            with code.each(whole, end) as row, code.each(0, self.channels) as c:
                self._single(plane, row, c)
        code.finish()

    def _each_channel(self, plane: Value, row: Value, blocks: int) -> None:
        code, bulk = self.code, self.channels & -BLOCK
        with code.each(0, bulk, BLOCK) as c:
            for block in range(blocks):
                self._block(plane, row + block * BLOCK, c)
        with code.each(bulk, self.channels) as c, code.each(row, row + blocks * BLOCK) as each:
            self._single(plane, each, c)

    def _places(self, plane: Value, row: Value, c: Value) -> tuple[Value, Value]:
        """Offsets of a pixel's channel with channels first and last."""
        return (plane + c * self.pixels + row) * self.size, row * self.stride + c * self.size

    def _single(self, plane: Value, row: Value, c: Value) -> None:
        first, last = self._places(plane, row, c)
        source, target = (first, last) if self.last else (last, first)
        self.code.store(self.code.load(self.kind, self.x, source), self.out, target)

    def _block(self, plane: Value, row: Value, c: Value) -> None:
        code, kind = self.code, vector(self.kind, BLOCK)
        first, last = self._places(plane, row, c)
        planes, pixels = ([at + step * i for i in range(BLOCK)] for at, step in ((first, self.pixels * self.size), (last, self.stride)))
        sources, targets = (planes, pixels) if self.last else (pixels, planes)
        for line, at in zip(self._turned([code.load(kind, self.x, at) for at in sources]), targets, strict=True):
            code.store(line, self.out, at)

    def _turned(self, lines: Sequence[Value]) -> list[Value]:
        a, b, c, d = lines
        halves = [self.code.shuffle(*pair, order) for pair in ((a, b), (c, d)) for order in ((0, 4, 1, 5), (2, 6, 3, 7))]
        return [self.code.shuffle(halves[i], halves[i + 2], order) for i in (0, 1) for order in ((0, 1, 4, 5), (2, 3, 6, 7))]
