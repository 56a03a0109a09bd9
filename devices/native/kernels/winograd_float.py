"""3x3 convolution of float32 with stride 1 by Winograd's F(2x2, 3x3): `winograd` with G itself and without rounding.

Transformed values are sums of at most four pixels, so that errors stay near those of the direct sum (Lavin and Gray, arXiv:1509.09308).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import Region, Value, f32, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.tiles import WINOGRAD_WIDTH
from devices.native.kernels.winograd import POSITIONS, Winograd, inward, outward, square


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    _Floats(Frame(module, isa, kernel, checked=checked)).write()


class _Floats(Winograd):
    out_size = 4
    sum_type = f32

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame, 4, min(WINOGRAD_WIDTH, frame.isa.vector // 4))
        self.kind = vector(f32, self.lanes)
        self.low, self.high = (self.code.splat(frame.real(name), self.lanes) for name in ("low", "high"))

    def transform(self, taps: Sequence[Sequence[Region]], target: Region) -> None:
        code = self.code
        with code.each(0, self.channels, self.lanes) as c:
            pixels = [[code.load(self.kind, tap + (c << 2)) for tap in row] for row in taps]
            for position, value in enumerate(square(pixels, inward)):
                code.store(value, target + (self.plane * position + (c << 2)))

    def multiply(self, starts: Sequence[Region], weights: Region) -> list[list[Value]]:
        code, zero = self.code, self.code.const(self.kind, 0.0)
        sums = [[code.variable(zero, self.kind) for _ in range(self.vectors)] for _ in starts]
        bulk = self.depth & -4
        for first, last, step in ((code.const(bulk.type, 0), bulk, 4), (bulk, self.depth, 1)):
            with code.each(first, last, step) as k:
                panel = weights + k * (4 * WINOGRAD_WIDTH)
                for i in range(step):
                    columns = [code.load(self.kind, panel, 4 * (i * WINOGRAD_WIDTH + j * self.lanes)) for j in range(self.vectors)]
                    for start, cells in zip(starts, sums, strict=True):
                        value = code.splat(code.load(f32, start + (k << 2), 4 * i), self.lanes)
                        for cell, column in zip(cells, columns, strict=True):
                            cell.set(code.fma(value, column, cell.get()))
        return [[cell.get() for cell in row] for row in sums]

    def result(self, n: Value, planes: Sequence[Sequence[Value]]) -> list[list[Value]]:
        code = self.code
        done: list[list[Value]] = [[], [], [], []]
        for j, sixteen in enumerate(planes):
            bias = code.load(self.kind, self.bias, (n << 2) + 4 * self.lanes * j)
            for pixel, value in zip(done, square([sixteen[i : i + 4] for i in range(0, POSITIONS, 4)], outward), strict=True):
                pixel.append(code.least(code.greatest(value + bias, self.low), self.high))
        return done
