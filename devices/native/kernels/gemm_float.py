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
        """Rows as they lie, windows of more than one tap too where they are inside the image."""
        return self.as_they_lie(m, count)

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
            for taps, run, panel in self.each_tap():
                columns = self.b + (weights.get() + panel * self.stride_b)
                bulk = run & -UNROLLED
                for first, last, step in ((code.const(i64, 0), bulk, UNROLLED), (bulk, run, 1)):
                    with code.each(first, last, step) as k:
                        places = [start + taps + stride * r + (k << 2) for r in range(rows)]
                        self._steps(step, places, columns + k * self.stride_b, sums)
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
