"""uint8 x int8 matrix product and dense convolution, exact, in tiles: `rows` pixels x `columns` channels kept in registers.

Rows of activations (pixels, or the taps of a convolution gathered pixel by pixel after the indirection buffer of QNNPACK, Dukhan et al.
2018) are first brought into scratch memory in the form that the instruction set multiplies, once for all columns; the product then walks
packed weights in order. Reference semantics: `requantize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.catalogue import BYTES, INTS
from devices.native.kernels.dots import STEP, Dots, Saturating, dots
from devices.native.kernels.emit import Region, Value, element, f32, i8, i16, i32, i64, nbytes, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.product import Product
from devices.native.kernels.requantize import Output, scaled
from devices.native.kernels.tiles import heights

SUMS_BYTES = 64
"""At the start of scratch memory: the sum of each row's activations."""


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    width, mode = kernel.variant
    assert isinstance(width, int)
    way = dots(isa, saturating=mode == "saturating")
    _Bytes(Frame(module, isa, kernel, checked=checked), way, width).write()


class _Bytes(Product):
    def __init__(self, frame: Frame, way: Dots, width: int) -> None:
        super().__init__(
            frame, width, heights(frame.isa, "pair-safe" if isinstance(way, Saturating) else "bytes")[width], way.row_bytes, SUMS_BYTES
        )
        self.way, self.vectors = way, width // way.lanes
        self.straight = way.row_bytes == 1 and not way.offset
        self.scale, self.weight_zero = frame.buffer("scale"), frame.buffer("weight_zero")
        self.kind = frame.number("kind")
        self.output = Output(self.code, *(frame.number(name, i32) for name in ("zero", "low", "high")))
        self.shifted = frame.given("weight_zero")

    def prepare(self, m: Value, count: Value) -> tuple[Region, Value]:
        """Bytes as they are need no copy: only windows at the edge, and rows that are summed."""
        if not self.straight:
            self.copy(m, count)
            return self.rows, self.prepared_bytes
        return self.as_they_lie(m, count, self.shifted)

    def copy(self, m: Value, count: Value) -> None:
        super().copy(m, count)
        with self.code.when(self.shifted), self.code.each(0, count) as r:
            self._sum(self.rows + r * self.prepared_bytes, r)

    def bring(self, source: Region, target: Region, count: Value) -> None:
        code = self.code
        with code.each(0, count, 16) as k:
            activations = code.load(vector(i8, 16), source, k, over=16)
            if self.way.row_bytes == 2:
                code.store(code.unsigned(activations, i16), target, k * 2)
            else:
                code.store(activations ^ -128 if self.way.offset else activations, target, k)

    def _sum(self, row: Region, r: Value) -> None:
        """The sum of the row's activations (those of padded channels too: their weights are the zero point), into scratch memory."""
        code = self.code
        kind = i16 if self.way.row_bytes == 2 else i8
        total = code.variable(0, vector(i32, STEP))
        with code.each(0, self.steps, STEP) as k:
            four = code.load(vector(kind, STEP), row, k * self.way.row_bytes)
            wide = code.signed(four, i32) if self.way.offset else code.unsigned(four, i32)
            total.set(total.get() + wide + self.way.offset)
        value = total.get()
        whole = code.pick(value, 0)
        for i in range(1, STEP):
            whole = whole + code.pick(value, i)
        code.store(whole, self.scratch, r << 2)

    # Tiles

    def multiply(self, rows: int, m: Value, start: Region, stride: Value) -> None:
        code, way, width = self.code, self.way, self.width
        weights = code.variable(0)
        with code.each(0, self.outputs, width) as n:
            bias = [code.load(vector(i32, way.lanes), self.bias, (n << 2) + j * way.lanes * 4) for j in range(self.vectors)]
            sums = [[code.variable(value, value.type) for value in bias] for _ in range(rows)]
            for taps, run, panel in self.each_tap() if self.straight else ((code.const(i64, 0), self.steps, code.const(i64, 0)),):
                places, columns = [start + taps + stride * r for r in range(rows)], self.b + (weights.get() + panel * width)
                with code.each(0, run, STEP) as k:
                    now = [[cell.get() for cell in row] for row in sums]
                    ahead = [place + k * way.row_bytes for place in places]
                    for cells, values in zip(sums, way.step(code, ahead, columns + k * width, now), strict=True):
                        for cell, value in zip(cells, values, strict=True):
                            cell.set(value)
            weights.set(weights.get() + self.steps * width)
            with code.when(self.shifted):
                self._take_zero(sums, n)
            totals = [[cell.get() for cell in row] for row in sums]
            self._write_out(totals, m, n)

    def _take_zero(self, sums: Sequence[Sequence[Any]], n: Value) -> None:
        """Weights with a zero point of their own: sum(a * (w - z)) = sum(a * w) - z * sum(a)."""
        code, lanes = self.code, self.way.lanes
        zeros = [code.load(vector(i32, lanes), self.weight_zero, (n << 2) + j * lanes * 4) for j in range(self.vectors)]
        for r, row in enumerate(sums):
            total = code.splat(code.load(i32, self.scratch, 4 * r), lanes)
            for cell, zero in zip(row, zeros, strict=True):
                cell.set(cell.get() - total * zero)

    def _write_out(self, totals: list[list[Value]], m: Value, n: Value) -> None:
        code, lanes = self.code, self.way.lanes
        kind = vector(f32, lanes)
        with code.either(self.kind.equals(BYTES)) as (small, large):
            with small:
                scales = [code.load(kind, self.scale, (n << 2) + j * lanes * 4) for j in range(self.vectors)]
                values = [scaled(code, total, scale) for row in totals for total, scale in zip(row, scales, strict=True)]
                done = self.output.bytes(values)
                for r in range(len(totals)):
                    self._store(done[r * self.vectors : (r + 1) * self.vectors], m + r, n)
            with large:
                place = n << 2
                with code.either(self.kind.equals(INTS)) as (ints, floats):
                    with ints:
                        for r, row in enumerate(totals):
                            self._store(row, m + r, place)
                    with floats:
                        scales = [code.load(kind, self.scale, place + j * lanes * 4) for j in range(self.vectors)]
                        for r, row in enumerate(totals):
                            products = [code.signed(total, f32) * scale for total, scale in zip(row, scales, strict=True)]
                            self._store(products, m + r, place)

    def _store(self, row: Sequence[Value], m: Value, offset: Value) -> None:
        """One row's vectors, joined two and two where they are bytes."""
        code = self.code
        target = self.out + (m * self.stride_out + offset)
        if element(row[0].type) is i8:
            half = len(row) & ~1
            row = [*(code.join(a, b) for a, b in zip(row[0:half:2], row[1:half:2], strict=True)), *row[half:]]
        at = 0
        for value in row:
            code.store(value, target, at)
            at += nbytes(value.type)
