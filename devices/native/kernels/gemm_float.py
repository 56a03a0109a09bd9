"""float32 matrix product and dense convolution in tiles, as `gemm` does it for bytes.

The products of an output are added in the order of the depth whatever the tile, so that splits of rows give identical results.
"""

from __future__ import annotations

from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import Region, Value, Variable, f32, i8, i64, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.product import Product
from devices.native.kernels.tiles import heights

UNROLLED = 4


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    width, *given = kernel.variant
    _Floats(Frame(module, isa, kernel, checked=checked), int(width), packed=not given).write()


class _Floats(Product):
    """`packed`: the second matrix lies in panels of a tile's columns, one after the other; otherwise row by row, `stride_b` apart."""

    source_size = 4

    def __init__(self, frame: Frame, width: int, *, packed: bool) -> None:
        super().__init__(frame, width, heights(frame.isa, "floats")[width], 4)
        self.lanes = frame.isa.vector // 4
        self.vectors = width // self.lanes
        code = self.code
        self.stride_b = code.const(i64, 4 * width) if packed else frame.number("stride_b")
        self.panel = (self.steps << 2) * width if packed else code.const(i64, 4 * width)
        self.low, self.high = frame.real("low"), frame.real("high")

    def prepare(self, m: Value, count: Value) -> tuple[Region, Value]:
        """Rows as they lie. Windows inside the image are read where they are, tap by tap; others are gathered."""
        code = self.code
        cells = [code.variable(value) for value in ((self.a + m * self.stride_a).at, self.stride_a, self.a.first, self.a.end)]
        start, stride, first, end = cells
        self.lines, self.taps, self.run = code.variable(1), code.variable(1), code.variable(self.steps)
        self.line_step, self.tap_step = code.variable(0), code.variable(0)
        with code.when(self.gathers), code.either(self.inside(count)) as (inside, at_edge):
            with inside:
                self._windows(start, stride)
                self.sites.skip(count)
            with at_edge:
                self.copy(m, count)
                for cell, value in zip(cells, (self.rows.at, self.prepared_bytes, self.rows.first, self.rows.end), strict=True):
                    cell.set(value)
        return Region(start.get(), first.get(), end.get()), stride.get()

    def _windows(self, start: Variable, stride: Variable) -> None:
        """Where the windows of output pixels beside each other begin, and how their taps lie."""
        code, sites = self.code, self.sites
        line, column = sites.line(0), sites.column(0)
        start.set(self.a.at + (sites.image.get() + line + column))
        stride.set(sites.column(0, code.least(sites.x.get() + 1, sites.width - 1)) - column)
        self.lines.set(sites.taps_y)
        self.line_step.set(sites.line(code.least(sites.taps_y - 1, 1)) - line)
        self.taps.set(code.select(self.dense, code.const(i64, 1), sites.taps_x))
        self.tap_step.set(self.tap_bytes)
        self.run.set(code.select(self.dense, self.depth * sites.taps_x, self.depth))

    def bring(self, source: Region, target: Region, count: Value) -> None:
        code = self.code
        with code.each(0, count << 2, 32) as k:
            code.store(code.load(vector(i8, 32), source, k, over=32), target, k)

    def multiply(self, rows: int, m: Value, start: Region, stride: Value) -> None:
        code, kind = self.code, vector(f32, self.lanes)
        weights = code.variable(0)
        with code.each(0, self.outputs, self.width) as n:
            bias = [code.load(kind, self.bias, (n + j * self.lanes) << 2) for j in range(self.vectors)]
            sums = [[code.variable(value, kind) for value in bias] for _ in range(rows)]
            run, panel = self.run.get(), code.variable(weights.get())
            bulk = run & -UNROLLED
            with code.each(0, self.lines.get()) as ky, code.each(0, self.taps.get()) as kx:
                places = [start + (ky * self.line_step.get() + kx * self.tap_step.get()) + stride * r for r in range(rows)]
                columns = self.b + panel.get()
                for first, last, step in ((code.const(i64, 0), bulk, UNROLLED), (bulk, run, 1)):
                    with code.each(first, last, step) as k:
                        self._steps(step, [place + (k << 2) for place in places], columns + k * self.stride_b, sums)
                panel.set(panel.get() + run * self.stride_b)
            weights.set(weights.get() + self.panel)
            low, high = code.splat(self.low, self.lanes), code.splat(self.high, self.lanes)
            for r, row in enumerate(sums):
                target = self.out + ((m + r) * self.stride_out + (n << 2))
                for j, cell in enumerate(row):
                    code.store(code.least(code.greatest(cell.get(), low), high), target, 4 * j * self.lanes)

    def _steps(self, count: int, rows: list[Region], weights: Region, sums: list[list[Variable]]) -> None:
        code, kind = self.code, vector(f32, self.lanes)
        for k in range(count):
            row = weights + self.stride_b * k
            columns = [code.load(kind, row, 4 * j * self.lanes) for j in range(self.vectors)]
            for place, cells in zip(rows, sums, strict=True):
                activation = code.splat(code.load(f32, place, 4 * k), self.lanes)
                for cell, column in zip(cells, columns, strict=True):
                    cell.set(code.fma(activation, column, cell.get()))
