"""Depthwise convolution of float32, sixteen channels at once; the edges read the pad pixel instead of a padded copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels import strips
from devices.native.kernels.emit import Region, Value, f32, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import CHANNELS

TAP_BYTES = 4 * CHANNELS


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    work = _Depthwise(Frame(module, isa, kernel, checked=checked))
    if len(kernel.variant) == 2:
        work.window(int(kernel.variant[0]), int(kernel.variant[1]))
    else:
        work.any()


class _Depthwise:
    def __init__(self, frame: Frame) -> None:
        self.frame, self.code = frame, frame.code
        self.x, self.out, self.weights, self.bias = (frame.buffer(name) for name in ("x", "out", "w", "bias"))
        self.channels, self.stride_out = frame.number("channels"), frame.number("stride_out")
        self.low, self.high = (self.code.splat(frame.real(name), strips.width(self.code)) for name in ("low", "high"))
        self.sites = Sites(frame, self.x, frame.begin * self.code.greatest(frame.number("width_out"), 1))

    def _multiply(self, sums: Sequence[Value], tap: Region, weights: Region) -> list[Value]:
        values = zip(sums, strips.load_floats(self.code, tap), strips.load_floats(self.code, weights), strict=True)
        return [self.code.fma(value, weight, total) for total, value, weight in values]

    def _store(self, sums: Sequence[Value], row: Value, x: Value, c: Value) -> None:
        code = self.code
        bounded = [code.least(code.greatest(value, self.low), self.high) for value in sums]
        strips.store_floats(code, bounded, self.out + ((row * self.sites.width + x) * self.stride_out + (c << 2)))

    def _block_weights(self, c: Value) -> Region:
        return self.weights + (c << 2) * (self.sites.taps_y * self.sites.taps_x)

    def window(self, taps_y: int, taps_x: int) -> None:
        """Taps spelled out. Pixel by pixel with all channels of each, so that memory is read in order."""
        code, sites = self.code, self.sites
        begin, end, step = (self.frame.number(name) for name in ("inner_begin", "inner_end", "tap_bytes"))
        with code.each(self.frame.begin, self.frame.end) as row:
            rows = [sites.row(ky) for ky in range(taps_y)]

            def pixel(x: Value, c: Value, taps: Sequence[Region]) -> None:
                weights, sums = self._block_weights(c), strips.load_floats(code, self.bias + (c << 2))
                for i, tap in enumerate(taps):
                    sums = self._multiply(sums, tap, weights + TAP_BYTES * i)
                self._store(sums, row, x, c)

            for first, last in ((0, begin), (end, sites.width)):
                with code.each(first, last) as x:
                    columns = [sites.column(kx, x) for kx in range(taps_x)]
                    taps = [sites.tap(across, column) for across in rows for column in columns]
                    with code.each(0, self.channels, CHANNELS) as c:
                        pixel(x, c, [tap + (c << 2) for tap in taps])
            with code.each(begin, end) as x:
                column = sites.column(0, x)
                with code.each(0, self.channels, CHANNELS) as c:
                    starts = [across + column + (c << 2) for across in rows]
                    pixel(x, c, [start + step * kx for start in starts for kx in range(taps_x)])
            sites.next_row()
        code.finish()

    def any(self) -> None:
        """Taps in a loop."""
        code, sites = self.code, self.sites
        kind = vector(f32, strips.width(code))
        with code.each(self.frame.begin, self.frame.end) as row:
            with code.each(0, self.channels, CHANNELS) as c, code.each(0, sites.width) as x:
                sums = [code.variable(value, kind) for value in strips.load_floats(code, self.bias + (c << 2))]
                weights = code.variable(self._block_weights(c).at - self.weights.at)
                with code.each(0, sites.taps_y) as ky:
                    across = sites.row(ky)
                    with code.each(0, sites.taps_x) as kx:
                        tap = sites.tap(across, sites.column(kx, x)) + (c << 2)
                        for cell, value in zip(
                            sums, self._multiply([cell.get() for cell in sums], tap, self.weights + weights.get()), strict=True
                        ):
                            cell.set(value)
                        weights.set(weights.get() + TAP_BYTES)
                self._store([cell.get() for cell in sums], row, x, c)
            sites.next_row()
        code.finish()
