"""What matrix products of all number formats share: tiles of rows, rows gathered from the windows of a convolution, the words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from devices.native.kernels.emit import Region, Value, Variable, i1, i64
from devices.native.kernels.frame import Frame, Sites


class Product(ABC):
    """A kernel that goes through its rows tile by tile. A subclass prepares the rows of a tile and multiplies them with all columns.

    `size`: bytes of a prepared activation; `head`: bytes at the start of scratch memory that are not for rows.
    """

    source_size = 1
    """Bytes of an activation as it lies in the tensor."""

    def __init__(self, frame: Frame, width: int, heights: Sequence[int], size: int, head: int = 0) -> None:
        self.frame, self.code, self.width, self.heights, self.size = frame, frame.code, width, heights, size
        self.a, self.b, self.out, self.bias = (frame.buffer(name) for name in ("a", "b", "out", "bias"))
        self.depth, self.outputs = frame.number("depth"), frame.number("outputs")
        self.stride_a, self.stride_out = frame.number("stride_a"), frame.number("stride_out")
        self.prepared_bytes, self.scratch = frame.number("prepared_bytes"), frame.scratch()
        self.rows = self.scratch + head
        self.gathers = frame.number("taps_y") > 0
        self.begin, self.end, self.first, self.last = self._range()
        self.sites = Sites(frame, self.a, self.begin)
        # Where channels have no padding, the taps of a window row are one run of bytes.
        self.inner, self.tap_bytes = (frame.number("inner_begin"), frame.number("inner_end")), frame.number("tap_bytes")
        self.dense = self.tap_bytes.equals(self.depth * self.source_size)
        self.steps = self.depth * self.code.greatest(self.sites.taps_y * self.sites.taps_x, 1)
        self.runs = [self.code.variable(value) for value in (1, 1, self.steps, 0, 0)]
        self.strip_rows = max(heights)

    @abstractmethod
    def prepare(self, m: Value, count: Value) -> tuple[Region, Value]:
        """Where the rows m … m + count lie ready to be multiplied, and the bytes from one to the next."""
        ...

    @abstractmethod
    def bring(self, source: Region, target: Region, count: Value) -> None:
        """`count` activations, as prepared ones; it may write into what follows, which comes later or is slack."""
        ...

    @abstractmethod
    def multiply(self, rows: int, m: Value, start: Region, stride: Value) -> None:
        """All columns of `rows` prepared rows."""
        ...

    def _range(self) -> tuple[Value, Value, Value, Value]:
        """The rows from … to, and the outputs from … to: where the call's rows are panels of outputs, all rows and those outputs."""
        code, frame, none = self.code, self.frame, self.code.const(i64, 0)
        pixels = frame.number("panels")
        panels = pixels.differs(0)
        return (
            code.select(panels, none, frame.begin),
            code.select(panels, pixels, frame.end),
            code.select(panels, frame.begin * self.width, none),
            code.select(panels, code.least(frame.end * self.width, self.outputs), self.outputs),
        )

    def write(self) -> None:
        """The whole kernel."""
        code, tile_rows = self.code, self.frame.number("tile_rows")
        m = code.variable(self.begin)
        again, ready, done, leave = (code.block(name) for name in ("again", "ready", "done", "leave"))
        code.builder.cbranch(((self.begin < self.end) & (self.first < self.last)).raw, again, leave)
        code.builder.position_at_end(again)
        wanted = code.least(self.end - m.get(), tile_rows)
        count = code.const(i64, self.heights[0])
        for size in self.heights[1:]:
            count = code.select(wanted >= size, code.const(i64, size), count)
        start, stride = self.prepare(m.get(), count)
        code.builder.branch(ready)
        code.builder.position_at_end(ready)
        choice = code.builder.switch(count.raw, leave)
        for size in self.heights:
            block = code.block(f"rows{size}")
            choice.add_case(i64(size), block)
            code.builder.position_at_end(block)
            self.multiply(size, m.get(), start, stride)
            code.builder.branch(done)
        code.builder.position_at_end(done)
        m.set(m.get() + count)
        code.builder.cbranch((m.get() < self.end).raw, again, leave)
        code.builder.position_at_end(leave)
        code.finish()

    def as_they_lie(self, m: Value, count: Value, copies: Value | None = None) -> tuple[Region, Value]:
        """Where the rows begin without being copied, and bytes from one to the next. Windows that are not `inside`, and all rows where
        `copies`, go into scratch memory all the same."""
        code = self.code
        cells = [code.variable(value) for value in ((self.a + m * self.stride_a).at, self.stride_a, self.a.first, self.a.end)]
        self._one_run()
        gathered = self.gathers if copies is None else self.gathers | copies
        with code.when(gathered):
            away = code.variable(0, i1)
            with code.when(self.gathers if copies is None else self.gathers & (copies ^ 1)):
                away.set(self._inside(count))
            with code.either(away.get()) as (straight, copied):
                with straight:
                    self._windows(cells[0], cells[1])
                    self.sites.skip(count)
                with copied:
                    self.copy(m, count)
                    for cell, value in zip(cells, (self.rows.at, self.prepared_bytes, self.rows.first, self.rows.end), strict=True):
                        cell.set(value)
        start, stride, first, end = (cell.get() for cell in cells)
        return Region(start, first, end), stride

    def _one_run(self) -> None:
        for cell, value in zip(self.runs, (1, 1, self.steps, 0, 0), strict=True):
            cell.set(self.code.const(i64, value))

    def in_scratch(self, m: Value, count: Value, apart: Value) -> tuple[Region, Value]:
        """Where the rows begin once they are in scratch memory, and bytes from one to the next. Windows inside the image that overlap are
        brought as one strip of pixels for each tap row, `strip_rows` of them at a time, unless they have to lie `apart`."""
        code = self.code
        self._one_run()
        stride, strip = code.variable(self.prepared_bytes), code.variable(0, i1)
        with code.when(self.overlap & (apart ^ 1)):
            strip.set(self._inside(count) & count.equals(self.strip_rows))
        with code.either(strip.get()) as (together, each):
            with together:
                self._strip(count, stride)
                self.sites.skip(count)
            with each:
                self.copy(m, count)
        return self.rows, stride.get()

    def strips(self) -> None:
        """Finds out, once a call, whether windows can be brought as strips: outputs are whole taps apart, and the longest strip fits."""
        code, sites, frame = self.code, self.sites, self.frame
        overlap, apart = code.variable(0, i1), code.variable(0)
        with code.when((self.tap_bytes > 0) & (self.inner[1] > self.inner[0] + 1)):
            begin = self.inner[0]
            step = sites.column(0, begin + 1) - sites.column(0, begin)
            apart.set(step // self.tap_bytes)
            longest = self._strip_pixels(frame.number("tile_rows"), apart.get()) * self.depth * sites.taps_y * self.size
            room = frame.number("scratch_bytes") - (self.rows.at - self.scratch.at)
            overlap.set((apart.get() * self.tap_bytes).equals(step) & (apart.get() < sites.taps_x) & (longest + 16 * self.size <= room))
        self.overlap, self.apart = overlap.get(), apart.get()

    def _strip_pixels(self, count: Value, apart: Value) -> Value:
        """Pixels of an image row that the windows of `count` neighbouring outputs see."""
        return (count - 1) * apart + self.sites.taps_x

    def _strip(self, count: Value, stride: Variable) -> None:
        """The pixels that the next `count` windows see, each once, without what pads their channels."""
        code, sites = self.code, self.sites
        column, pixels, depth_bytes = sites.column(0), self._strip_pixels(count, self.apart), self.depth * self.size
        line_bytes = pixels * depth_bytes
        with code.each(0, sites.taps_y) as ky:
            source, target = self.a + (sites.image.get() + sites.line(ky) + column), self.rows + ky * line_bytes
            with code.either(self.dense) as (gapless, padded):
                with gapless:
                    self.bring(source, target, pixels * self.depth)
                with padded, code.each(0, pixels) as pixel:
                    self.bring(source + pixel * self.tap_bytes, target + pixel * depth_bytes, self.depth)
        stride.set(self.apart * depth_bytes)
        for cell, value in zip(self.runs, (sites.taps_y, 1, self.depth * sites.taps_x, line_bytes, 0), strict=True):
            cell.set(code.const(i64, value))

    def _inside(self, count: Value) -> Value:
        """Whether the windows of the next `count` output pixels lie inside the image, beside each other."""
        sites, (begin, end) = self.sites, self.inner
        x, last = sites.x.get(), sites.taps_y - 1
        apart = self.tap_bytes > 0  # not those of a transposed convolution
        return apart & (x >= begin) & (x + count <= end) & (sites.line(0) >= 0) & (sites.line(last) >= 0)

    def _windows(self, start: Variable, stride: Variable) -> None:
        """Where the windows begin, and how their taps lie: where channels have no padding, those of an image row are one run."""
        code, sites = self.code, self.sites
        line, column = sites.line(0), sites.column(0)
        start.set(self.a.at + (sites.image.get() + line + column))
        stride.set(sites.column(0, code.least(sites.x.get() + 1, sites.width - 1)) - column)
        one = code.const(i64, 1)
        values = (
            sites.taps_y, code.select(self.dense, one, sites.taps_x), self.depth * code.select(self.dense, sites.taps_x, one),
            sites.line(code.least(sites.taps_y - 1, 1)) - line, self.tap_bytes,
        )  # fmt: skip
        for cell, value in zip(self.runs, values, strict=True):
            cell.set(value)

    def one_run(self) -> Iterable[tuple[Value, Value, Value]]:
        """What `each_tap` gives where rows are one run, without a loop."""
        none = self.code.const(i64, 0)
        return ((none, self.steps, none),)

    def each_tap(self, *, lines_only: bool = False) -> Iterator[tuple[Value, Value, Value]]:
        """The loop over runs of activations in a prepared row: bytes from the row's start, activations, those before it. One run but in
        windows; `lines_only`: at most one a tap row."""
        code = self.code
        lines, taps, run, line_step, tap_step = (cell.get() for cell in self.runs)
        before = code.variable(0)
        with code.each(0, lines) as ky, code.each(0, code.const(i64, 1) if lines_only else taps) as kx:
            yield ky * line_step + kx * tap_step, run, before.get()
            before.set(before.get() + run)

    def copy(self, m: Value, count: Value) -> None:
        """The rows m … m + count, or the windows of those output pixels, one after the other into scratch memory."""
        code = self.code
        with code.either(self.gathers) as (gathered, straight):
            with gathered, code.each(0, count) as r:
                self._window(self.rows + r * self.prepared_bytes)
                self.sites.step()
            with straight, code.each(0, count) as r:
                self.bring(self.a + (m + r) * self.stride_a, self.rows + r * self.prepared_bytes, self.depth)

    def _window(self, target: Region) -> None:
        """All taps of the current output pixel."""
        code, sites = self.code, self.sites
        place = code.variable(0)
        run, x = self.depth * sites.taps_x, sites.x.get()
        with code.either(self.dense & (x >= self.inner[0]) & (x < self.inner[1])) as (inside, at_edge):
            with inside:
                column = sites.column(0)
                with code.each(0, sites.taps_y) as ky:
                    self.bring(sites.row(ky) + column, target + place.get(), run)
                    place.set(place.get() + run * self.size)
            with at_edge, code.each(0, sites.taps_y) as ky:
                across = sites.row(ky)
                with code.each(0, sites.taps_x) as kx:
                    self.bring(sites.tap(across, sites.column(kx)), target + place.get(), self.depth)
                    place.set(place.get() + self.depth * self.size)
