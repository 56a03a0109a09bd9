"""The frame of a kernel being emitted: its code, its words as values and buffers, its rows."""

from __future__ import annotations

from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.catalogue import SITE_BUFFERS
from devices.native.kernels.emit import Code, Number, Region, Value, f32, i32, i64
from devices.native.kernels.kernel import ARGUMENTS, Kernel


class Frame:
    """`code` with the words of `kernel` read once at its start. Use as: make one, emit, `code.finish()`."""

    def __init__(self, module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
        self.code = Code(module, isa, kernel.name, ARGUMENTS, checked=checked)
        self.isa = isa
        words = self.code.arguments["words"]
        block = self.code.region(words, self.code.const(i64, 8 * len(kernel.fields)))
        self._words = {name: self.code.load(i64, block, 8 * i, align=8) for i, name in enumerate(kernel.fields)}
        self.begin, self.end = self.code.arguments["begin"], self.code.arguments["end"]

    def number(self, name: str, kind: Any = i64) -> Value:
        """A number of the words, as this type."""
        return self.code.signed(self._words[name], kind)

    def real(self, name: str) -> Value:
        """A number of the words that is a float32."""
        return self.code.bits(self.number(name, i32), f32)

    def buffer(self, name: str) -> Region:
        return self.code.region(self._words[name], self._words[f"{name}_bytes"])

    def scratch(self) -> Region:
        return self.code.region(self.code.arguments["scratch"], self._words["scratch_bytes"])

    def given(self, name: str) -> Value:
        """Whether a buffer is there (its address is not 0)."""
        return self._words[name].differs(0)


class Sites:
    """Walks the output pixels of a convolution or pooling, row by row and image by image, from pixel `begin` on.

    The words are those of `catalogue.SITE_BUFFERS` and `SITE_NUMBERS`.
    """

    def __init__(self, frame: Frame, source: Region, first: Value) -> None:
        self.code, self.source = frame.code, source
        self.taps_y, self.taps_x = frame.number("taps_y"), frame.number("taps_x")
        self.width, self.height, self.image_bytes = frame.number("width_out"), frame.number("height_out"), frame.number("image_bytes")
        self.pad, self.rows, self.columns = (frame.buffer(name) for name in SITE_BUFFERS)
        width, pixels = self._at_least_one(self.width), self._at_least_one(self.width * self.height)
        image = first // pixels
        inside = first - image * pixels
        self.image = self.code.variable(image * self.image_bytes)
        self.y = self.code.variable(inside // width)
        self.x = self.code.variable(inside - self.y.get() * width)

    def _at_least_one(self, value: Value) -> Value:
        """Words of a kernel call without sites are 0, and divided by all the same."""
        return self.code.greatest(value, 1)

    def step(self) -> None:
        """On to the next output pixel."""
        code = self.code
        self.x.set(self.x.get() + 1)
        with code.when(self.x.get() >= self.width):
            self.x.set(code.const(i64, 0))
            self.next_row()

    def skip(self, count: Value) -> None:
        """On by `count` output pixels of the current row."""
        code = self.code
        self.x.set(self.x.get() + count)
        with code.when(self.x.get() >= self.width):
            self.x.set(code.const(i64, 0))
            self.next_row()

    def next_row(self) -> None:
        """On to the next output row."""
        code = self.code
        self.y.set(self.y.get() + 1)
        with code.when(self.y.get() >= self.height):
            self.y.set(code.const(i64, 0))
            self.image.set(self.image.get() + self.image_bytes)

    def place(self) -> tuple[Value, Value, Value]:
        """Where the walk is, for `go`."""
        return self.image.get(), self.y.get(), self.x.get()

    def go(self, place: tuple[Value, Value, Value]) -> None:
        """Back to a place."""
        for cell, value in zip((self.image, self.y, self.x), place, strict=True):
            cell.set(value)

    def number(self) -> Value:
        """Which image the walk is in."""
        return self.image.get() // self._at_least_one(self.image_bytes)

    def row(self, ky: Number) -> Region:
        """The input row of tap `ky` at the current output row: its first pixel, or that of the pad row."""
        offset = self.line(ky)
        return self.choose(offset < 0, self.pad, self.source + (self.image.get() + offset))

    def line(self, ky: Number) -> Value:
        """int64 offset inside the image of the input row of tap `ky` at the current output row; negative outside."""
        return self.code.signed(self.code.load(i32, self.rows, (self.y.get() * self.taps_y + ky) << 2), i64)

    def column(self, kx: Number, x: Value | None = None) -> Value:
        """int64 offset of the input column of tap `kx`, at the current output column or `x`; negative outside."""
        offset = self.code.load(i32, self.columns, ((self.x.get() if x is None else x) * self.taps_x + kx) << 2)
        return self.code.signed(offset, i64)

    def tap(self, row: Region, column: Value) -> Region:
        """Where the input pixel lies: in the row, or the pad where the column lies outside."""
        return self.choose(column < 0, self.pad, row + column)

    def choose(self, condition: Value, yes: Region, no: Region) -> Region:
        """One of two places."""
        return Region(
            self.code.select(condition, yes.at, no.at),
            self.code.select(condition, yes.first, no.first),
            self.code.select(condition, yes.end, no.end),
        )
