"""Interpolation of float32 images: each output pixel is a weighted sum of input pixels, with weights by row and by column."""

from __future__ import annotations

from typing import Any

from devices.native.isa import Isa
from devices.native.kernels import strips
from devices.native.kernels.emit import Region, Value, f32, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import CHANNELS


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    work = _Resize(Frame(module, isa, kernel, checked=checked))
    if kernel.variant:
        work.write(int(kernel.variant[0]), int(kernel.variant[1]))
    else:
        work.write_any()


class _Resize:
    def __init__(self, frame: Frame) -> None:
        self.frame, self.code = frame, frame.code
        self.weights_y, self.weights_x = frame.buffer("weights_y"), frame.buffer("weights_x")
        self.channels, self.stride_out = frame.number("channels"), frame.number("stride_out")
        self.sites = Sites(frame, frame.buffer("x"), frame.begin * self.code.greatest(frame.number("width_out"), 1))

    def write(self, taps_y: int, taps_x: int) -> None:
        """Taps spelled out: found once a pixel, for all channels."""
        code, sites = self.code, self.sites
        with code.each(self.frame.begin, self.frame.end) as row:
            across = [sites.row(ky) for ky in range(taps_y)]
            down = [self._weight_y(ky) for ky in range(taps_y)]
            with code.each(0, sites.width) as x:
                columns = [sites.column(kx, x) for kx in range(taps_x)]
                along = [self._weight_x(kx, x) for kx in range(taps_x)]
                with code.each(0, self.channels, CHANNELS) as c:
                    total = [code.const(along[0].type, 0.0)] * (CHANNELS // strips.width(code))
                    for line, high in zip(across, down, strict=True):
                        part = [code.const(high.type, 0.0)] * len(total)
                        for column, wide in zip(columns, along, strict=True):
                            seen = strips.load_floats(code, line + column + (c << 2))
                            part = [code.fma(value, wide, sum_) for value, sum_ in zip(seen, part, strict=True)]
                        total = [code.fma(value, high, sum_) for value, sum_ in zip(part, total, strict=True)]
                    strips.store_floats(code, total, self._target(row, x, c))
            sites.next_row()
        code.finish()

    def write_any(self) -> None:
        """Taps in a loop."""
        code, sites = self.code, self.sites
        kind = vector(f32, strips.width(code))
        with code.each(self.frame.begin, self.frame.end) as row:
            with code.each(0, sites.width) as x, code.each(0, self.channels, CHANNELS) as c:
                total = [code.variable(0.0, kind) for _ in range(CHANNELS // strips.width(code))]
                with code.each(0, sites.taps_y) as ky:
                    across, high = sites.row(ky), self._weight_y(ky)
                    with code.each(0, sites.taps_x) as kx:
                        weight = high * self._weight_x(kx, x)
                        seen = strips.load_floats(code, across + sites.column(kx, x) + (c << 2))
                        for cell, value in zip(total, seen, strict=True):
                            cell.set(code.fma(value, weight, cell.get()))
                strips.store_floats(code, [cell.get() for cell in total], self._target(row, x, c))
            sites.next_row()
        code.finish()

    def _weight_y(self, ky: Value | int) -> Value:
        return self._splat(self.weights_y, self.sites.y.get() * self.sites.taps_y + ky)

    def _weight_x(self, kx: Value | int, x: Value) -> Value:
        return self._splat(self.weights_x, x * self.sites.taps_x + kx)

    def _splat(self, weights: Region, number: Value) -> Value:
        return self.code.splat(self.code.load(f32, weights, number << 2), strips.width(self.code))

    def _target(self, row: Value, x: Value, c: Value) -> Region:
        return self.frame.buffer("out") + ((row * self.sites.width + x) * self.stride_out + (c << 2))
