"""Depthwise convolution of uint8, exact, sixteen channels at once; the edges read the pad pixel instead of a padded copy.

Three forms: `carry` (3x3, stride 1) goes along an output row, two pixels at a time, and brings each input column once; `window` has a
fixed number of taps spelled out, for any stride; `any` loops over taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.blocks import PAIR_BYTES, Finish, add_pairs, add_part, block
from devices.native.kernels.emit import Region, Value, i16, i32, i64, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import CHANNELS
from devices.native.kernels.requantize import Output


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    work = _Depthwise(Frame(module, isa, kernel, checked=checked))
    form, *taps = kernel.variant
    if form == "carry":
        work.carry()
    elif form == "window":
        work.window(int(taps[0]), int(taps[1]))
    else:
        work.any()


class _Depthwise:
    def __init__(self, frame: Frame) -> None:
        self.frame, self.code, self.block = frame, frame.code, block(frame.isa)
        self.x, self.out, self.weights = (frame.buffer(name) for name in ("x", "out", "w"))
        self.bias, self.scale = frame.buffer("bias"), frame.buffer("scale")
        self.channels, self.stride_out = frame.number("channels"), frame.number("stride_out")
        self.pair_bytes = frame.number("block_bytes")
        self.output = Output(self.code, *(frame.number(name, i32) for name in ("zero", "low", "high")))
        self.sites = Sites(frame, self.x, frame.begin * self.code.greatest(frame.number("width_out"), 1))

    def _finish(self, c: Value) -> Finish:
        return Finish(self.code, self.block.parts, self.bias + (c << 2), self.scale + (c << 2), self.output)

    def _block_weights(self, c: Value) -> Region:
        return self.weights + (c >> 4) * self.pair_bytes

    def _target(self, row: Value, x: Value, c: Value) -> Region:
        return self.out + ((row * self.sites.width + x) * self.stride_out + c)

    def _none(self) -> Value:
        return self.code.const(vector(i16, CHANNELS), 0)

    # One output pixel at a time

    def window(self, taps_y: int, taps_x: int) -> None:
        code, sites = self.code, self.sites
        begin, end, step = (self.frame.number(name) for name in ("inner_begin", "inner_end", "tap_bytes"))
        with code.each(self.frame.begin, self.frame.end) as row:
            rows = [sites.row(ky) for ky in range(taps_y)]

            def pixel(x: Value, c: Value, taps: Sequence[Region]) -> None:
                finish = self._finish(c)
                sums = self._products(finish.bias, [self.block.bring(code, tap) for tap in taps], self._block_weights(c))
                code.store(finish.bytes([sums])[0], self._target(row, x, c))

            for first, last in ((0, begin), (end, sites.width)):
                with code.each(first, last) as x:
                    columns = [sites.column(kx, x) for kx in range(taps_x)]
                    taps = [sites.tap(across, column) for across in rows for column in columns]
                    with code.each(0, self.channels, CHANNELS) as c:
                        pixel(x, c, [tap + c for tap in taps])
            with code.each(begin, end) as x:
                column = sites.column(0, x)
                with code.each(0, self.channels, CHANNELS) as c:
                    starts = [across + column + c for across in rows]
                    pixel(x, c, [start + step * kx for start in starts for kx in range(taps_x)])
            sites.next_row()
        code.finish()

    def _products(self, bias: Sequence[Value], brought: Sequence[Value], weights: Region) -> list[Value]:
        taps = [*brought, self._none()] if len(brought) % 2 else brought
        pairs = [self.block.pair(self.code, first, second) for first, second in zip(taps[::2], taps[1::2], strict=True)]
        return add_pairs(self.code, self.block, bias, pairs, weights)

    def any(self) -> None:
        code, sites = self.code, self.sites
        with code.each(self.frame.begin, self.frame.end) as row:
            with code.each(0, self.channels, CHANNELS) as c:
                finish, weights = self._finish(c), self._block_weights(c)
                with code.each(0, sites.width) as x:
                    sums = [code.variable(value, value.type) for value in finish.bias]
                    place = code.variable(0)
                    with code.each(0, sites.taps_y) as ky:
                        across = sites.row(ky)
                        with code.each(0, sites.taps_x) as kx:
                            brought = self.block.bring(code, sites.tap(across, sites.column(kx, x)) + c)
                            pair = self.block.pair(code, brought, self._none())
                            added = add_pairs(code, self.block, [cell.get() for cell in sums], [pair], weights + place.get())
                            for cell, value in zip(sums, added, strict=True):
                                cell.set(value)
                            place.set(place.get() + PAIR_BYTES)
                    code.store(finish.bytes([[cell.get() for cell in sums]])[0], self._target(row, x, c))
            sites.next_row()
        code.finish()

    # Two new input columns at a time

    def carry(self) -> None:
        code, sites = self.code, self.sites
        with code.each(self.frame.begin, self.frame.end) as row:
            rows = [sites.row(ky) for ky in range(3)]
            with code.each(0, self.channels, CHANNELS) as c:
                self._along(row, [across + c for across in rows], sites.pad + c, c)
            sites.next_row()
        code.finish()

    def _along(self, row: Value, rows: Sequence[Region], pad: Region, c: Value) -> None:
        """Sixteen channels of one output row: columns a, b are carried, c, d are new; upper two taps and the lower ones go in pairs."""
        code, sites, block = self.code, self.sites, self.block
        finish, weights = self._finish(c), self._block_weights(c)
        pixel, width = self.frame.number("tap_bytes"), self.frame.number("row_bytes")
        # How many columns lie left of the image: the taps of the first output that are outside before one that is inside.
        first, second = (code.unsigned(code.load(i32, sites.columns, 4 * kx) < 0, i64) for kx in range(2))
        column = code.variable(pixel * (first + (first & second)) * -1)

        def new() -> tuple[list[Value], list[Value], list[Value]]:
            """Upper pairs of the next two columns, and the pair of their lower taps."""
            brought = []
            for _ in range(2):
                at = column.get()
                column.set(at + pixel)
                beyond = Value(code, code.builder.icmp_unsigned(">=", at.raw, width.raw))
                brought.append([block.bring(code, sites.choose(beyond, pad, across + at)) for across in rows])
            first, second = brought
            return block.pair(code, first[0], first[1]), block.pair(code, second[0], second[1]), block.pair(code, first[2], second[2])

        carried = [[code.variable(value, value.type) for value in pair] for pair in new()]
        target = code.variable(row * sites.width * self.stride_out + c)
        with code.each(0, sites.width, 2) as x:
            a, b, lower = ([cell.get() for cell in cells] for cells in carried)
            c2, d, lower2 = new()
            # Weights: upper taps by column, then the lower ones as the first and as the second output meet them.
            outputs = [a, b, c2, lower, lower2], [b, c2, d, lower, lower2]
            by_part = [
                [add_part(code, block, total, part, pairs, weights + 5 * PAIR_BYTES * number) for number, pairs in enumerate(outputs)]
                for part, total in enumerate(finish.bias)
            ]
            sums = [list(parts) for parts in zip(*by_part, strict=True)]
            done = finish.bytes(sums)
            # At the end of an odd row the second output goes where the first one is stored right after.
            step = code.select(x + 1 < sites.width, self.stride_out, code.const(i64, 0))
            code.store(done[1], self.out + (target.get() + step))
            code.store(done[0], self.out + target.get())
            target.set(target.get() + self.stride_out * 2)
            for cells, pair in zip(carried, (c2, d, lower2), strict=True):
                for cell, value in zip(cells, pair, strict=True):
                    cell.set(value)
