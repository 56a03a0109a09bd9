"""Depthwise convolution of uint8, exact, sixteen channels at once; the edges read the pad pixel instead of a padded copy.

Three forms: `carry` (3x3, stride 1) goes along an output row, two pixels at a time, and brings each input column once; `window` has a
fixed number of taps spelled out, for any stride; `any` loops over taps. The first two bring their weights in pairs into scratch memory,
once for many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.blocks import Finish, add_pairs, block
from devices.native.kernels.emit import Region, Value, i8, i16, i32, i64, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import CHANNELS
from devices.native.kernels.pack import PAIR_BYTES
from devices.native.kernels.requantize import Output

Order = Callable[[list[Value]], Iterable[tuple[Value, Value]]]
"""Which taps are multiplied together."""

NEAR = 128
"""Output pixels, about, whose rows are done for sixteen channels before the next sixteen: they share lines of the nearest cache."""


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
        self.block_bytes = frame.number("block_bytes")
        self.output = Output(self.code, *(frame.number(name, i32) for name in ("zero", "low", "high")))
        self.paired = frame.scratch()
        self.sites = Sites(frame, self.x, frame.begin * self.code.greatest(frame.number("width_out"), 1))

    def _finish(self, c: Value) -> Finish:
        return Finish(self.code, self.block.parts, self.bias + (c << 2), self.scale + (c << 2), self.output)

    def _target(self, row: Value, x: Value, c: Value) -> Region:
        return self.out + ((row * self.sites.width + x) * self.stride_out + c)

    def _none(self) -> Value:
        return self.code.const(vector(i16, CHANNELS), 0)

    def _pair_weights(self, c: Value, taps: int, order: Order, target: Region) -> None:
        """The weights of sixteen channels into scratch memory, as pairs."""
        for number, pair in enumerate(order(self._taps(c, taps))):
            made = self.block.pair(self.code, *pair)
            for part, values in enumerate(made):
                self.code.store(values, target, PAIR_BYTES * number + PAIR_BYTES // len(made) * part)

    def _taps(self, c: Value, count: int) -> list[Value]:
        """The weights of sixteen channels, as i16."""
        code, places = self.code, self.weights + (c >> 4) * self.block_bytes
        cells = [code.variable(self._none(), vector(i16, CHANNELS)) for _ in range(count)]
        with code.either(self.block_bytes.equals(count * CHANNELS)) as (small, large):
            with small:
                for number, cell in enumerate(cells):
                    cell.set(code.signed(code.load(vector(i8, CHANNELS), places, CHANNELS * number), i16))
            with large:
                for number, cell in enumerate(cells):
                    cell.set(code.load(vector(i16, CHANNELS), places, 2 * CHANNELS * number))
        return [cell.get() for cell in cells]

    # One output pixel at a time

    def window(self, taps_y: int, taps_x: int) -> None:
        code, sites = self.code, self.sites
        begin, end, step = (self.frame.number(name) for name in ("inner_begin", "inner_end", "tap_bytes"))
        block_bytes = (taps_y * taps_x + 1) // 2 * PAIR_BYTES
        with code.each(0, self.channels, CHANNELS) as c:
            self._pair_weights(c, taps_y * taps_x, self._two_and_two, self.paired + (c >> 4) * block_bytes)
        with code.each(self.frame.begin, self.frame.end) as row:
            rows = [sites.row(ky) for ky in range(taps_y)]

            def pixel(x: Value, c: Value, taps: Sequence[Region]) -> None:
                finish, brought = self._finish(c), [self.block.bring(code, tap) for tap in taps]
                pairs = [self.block.pair(code, *pair) for pair in self._two_and_two(brought)]
                sums = add_pairs(code, self.block, finish.bias, pairs, self.paired + (c >> 4) * block_bytes)
                for done in finish.ways([sums]):
                    code.store(done[0], self._target(row, x, c))

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

    def _two_and_two(self, taps: list[Value]) -> Iterable[tuple[Value, Value]]:
        """Taps in pairs, a lone one beside zeros."""
        return zip_longest(taps[::2], taps[1::2], fillvalue=self._none())

    def any(self) -> None:
        code, sites = self.code, self.sites
        with code.each(self.frame.begin, self.frame.end) as row:
            with code.each(0, self.channels, CHANNELS) as c:
                finish, weights = self._finish(c), self.weights + (c >> 4) * self.block_bytes
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
                    for done in finish.ways([[cell.get() for cell in sums]]):
                        code.store(done[0], self._target(row, x, c))
            sites.next_row()
        code.finish()

    # Two new input columns at a time

    def carry(self) -> None:
        code, sites = self.code, self.sites
        pixel, width = self.frame.number("tap_bytes"), self.frame.number("row_bytes")
        # How many columns lie left of the image: the taps of the first output that are outside before one that is inside.
        first, second = (code.unsigned(code.load(i32, sites.columns, 4 * kx) < 0, i64) for kx in range(2))
        left = first + (first & second)
        # Both new columns of the outputs below it lie in the image.
        inside = code.greatest(code.least(width // code.greatest(pixel, 1) + left - 3, sites.width), 0) + 1 & -2
        together = code.greatest(code.const(i64, NEAR) // code.greatest(sites.width, 1), 1)
        with code.each(self.frame.begin, self.frame.end, together) as begin:
            end, place = code.least(begin + together, self.frame.end), sites.place()
            with code.each(0, self.channels, CHANNELS) as c:
                self._pair_weights(c, 9, self._by_columns, self.paired)
                sites.go(place)
                with code.each(begin, end) as row:
                    rows = [sites.row(ky) + c for ky in range(3)]
                    self._along(row, rows, sites.pad + c, c, pixel * left * -1, inside)
                    sites.next_row()
        code.finish()

    def _by_columns(self, taps: list[Value]) -> list[tuple[Value, Value]]:
        """Each column's upper two taps, then the lower ones of two columns. The upper ones twice, though they are the same: what is read
        once need not be kept in a register."""
        upper, none, (low, lower, lowest) = [(taps[kx], taps[3 + kx]) for kx in range(3)], self._none(), taps[6:]
        return [*upper, (low, lower), (lowest, none), *upper, (none, low), (lower, lowest)]

    def _along(self, row: Value, rows: Sequence[Region], pad: Region, c: Value, start: Value, inside: Value) -> None:
        """Sixteen channels of one output row. What the columns seen so far add to the next two outputs is carried; each column's upper two
        taps go in a pair, and the lower ones of two columns."""
        code, sites, block = self.code, self.sites, self.block
        finish, weights = self._finish(c), self.paired
        pixel, width = self.frame.number("tap_bytes"), self.frame.number("row_bytes")
        column, target = code.variable(start), code.variable(row * sites.width * self.stride_out + c)

        def new(*, whole: bool) -> list[list[Value]]:
            """The upper pairs of the next two columns, and the pair of their lower taps; `whole`: they lie in the image."""
            brought = []
            for _ in range(2):
                at = column.get()
                column.set(at + pixel)
                places = [across + at for across in rows]
                if not whole:
                    beyond = Value(code, code.builder.icmp_unsigned(">=", at.raw, width.raw))
                    places = [sites.choose(beyond, pad, place) for place in places]
                brought.append([block.bring(code, place) for place in places])
            (c0, c1, c2), (d0, d1, d2) = brought
            return [block.pair(code, c0, c1), block.pair(code, d0, d1), block.pair(code, c2, d2)]

        def add(total: Value, part: int, *terms: tuple[list[Value], int]) -> Value:
            """The total with pairs times the weights of these numbers in the order of `_by_columns`."""
            for pair, number in terms:
                total = block.add(code, total, part, pair, weights, PAIR_BYTES * number)
            return total

        def ahead(pairs: Sequence[list[Value]], part: int) -> list[Value]:
            """What two columns add to the two outputs after them, with the bias."""
            (near, far, lower), bias = pairs, finish.bias[part]
            return [add(bias, part, (near, 0), (far, 6), (lower, 3)), add(bias, part, (far, 5), (lower, 8))]

        parts = range(block.parts)
        pairs = new(whole=False)
        carried = [[code.variable(value, value.type) for value in ahead(pairs, part)] for part in parts]
        for begin, end, whole in ((code.const(i64, 0), inside, True), (inside, sites.width, False)):
            with code.each(begin, end, 2) as x:
                near, far, lower = pairs = new(whole=whole)
                sums: list[list[Value]] = [[], []]
                for part in parts:
                    first, second = (cell.get() for cell in carried[part])
                    sums[0].append(add(first, part, (near, 2), (lower, 4)))
                    sums[1].append(add(second, part, (near, 1), (far, 7), (lower, 9)))
                    for cell, value in zip(carried[part], ahead(pairs, part), strict=True):
                        cell.set(value)
                step = self.stride_out
                if not whole:  # at the end of an odd row the second output goes where the first one is stored right after
                    step = code.select(x + 1 < sites.width, step, code.const(i64, 0))
                for done in finish.ways(sums):
                    code.store(done[1], self.out + (target.get() + step))
                    code.store(done[0], self.out + target.get())
                target.set(target.get() + self.stride_out * 2)
