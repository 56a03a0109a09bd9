"""3x3 convolution of stride 1 in integers by Winograd's F(2x2, 3x3), equal to the direct sum bit for bit.

After Lavin and Gray (arXiv:1509.09308) with 2G instead of G, so that the transformed weights are whole (|U| <= 9 * 255, |V| <= 4 * 255:
both fit int16). The sums are those of the direct convolution times 4, modulo 2^32; `pack_winograd` proves that 4 * sum fits int32, so that
the last shift is exact. Four outputs take 16 products instead of 36.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import Region, Value, f32, i8, i16, i32, nbytes, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import CHANNELS
from devices.native.kernels.requantize import Output, scaled
from devices.native.kernels.tiles import WINOGRAD_ROWS, WINOGRAD_WIDTH
from devices.native.kernels.wide import Wide, wide

POSITIONS = 16
SUM_BYTES = 4 * WINOGRAD_WIDTH


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    _Bytes(Frame(module, isa, kernel, checked=checked), wide(isa)).write()


class Winograd(ABC):
    """What the convolution is in all number formats: blocks of tiles, sixteen planes of transformed pixels, products plane by plane.

    `size`: bytes of a transformed value; `lanes`: 32-bit sums in a vector.
    """

    out_size = 1
    sum_type: Any = i32

    def __init__(self, frame: Frame, size: int, lanes: int) -> None:
        self.frame, self.code, self.size, self.lanes = frame, frame.code, size, lanes
        self.rows, self.vectors = WINOGRAD_ROWS[frame.isa.dot], WINOGRAD_WIDTH // lanes
        self.x, self.out, self.weights, self.bias = (frame.buffer(name) for name in ("x", "out", "w", "bias"))
        self.channels, self.depth, self.outputs = (frame.number(name) for name in ("channels", "depth", "outputs"))
        self.stride_out, self.tile_rows = frame.number("stride_out"), frame.number("tile_rows")
        self.width, self.height = frame.number("pixels_x"), frame.number("pixels_y")
        self.plane = self.tile_rows * self.channels * size
        self.brought = frame.scratch()
        self.sums = self.brought + self.plane * POSITIONS

    @abstractmethod
    def transform(self, taps: Sequence[Sequence[Region]], target: Region) -> None:
        """The 4x4 pixels at `taps`, transformed, to each plane at `target`."""
        ...

    @abstractmethod
    def multiply(self, starts: Sequence[Region], weights: Region) -> list[list[Value]]:
        """The sums of the rows at `starts` with a panel of weights, each as vectors."""
        ...

    @abstractmethod
    def result(self, n: Value, planes: Sequence[Sequence[Value]]) -> list[list[Value]]:
        """The four output pixels, ready to be stored, out of each vector's sixteen sums."""
        ...

    def write(self) -> None:
        """Blocks of tiles: all their inputs transformed, then for sixteen outputs at a time the products and the transformation back."""
        code, frame = self.code, self.frame
        reader, writer = Sites(frame, self.x, frame.begin), Sites(frame, self.x, frame.begin)
        with code.each(frame.begin, frame.end, self.tile_rows) as first:
            count = code.least(frame.end - first, self.tile_rows)
            with code.each(0, count) as tile:
                rows, columns = [reader.row(ky) for ky in range(4)], [reader.column(kx) for kx in range(4)]
                taps = [[reader.tap(row, column) for column in columns] for row in rows]
                self.transform(taps, self.brought + tile * self.channels * self.size)
                reader.step()
            here = writer.place()
            with code.each(0, self.outputs, WINOGRAD_WIDTH) as n:
                self._products(n, count)
                writer.go(here)
                with code.each(0, count) as tile:
                    self._finish(writer, tile, n)
                    writer.step()
        code.finish()

    def _products(self, n: Value, count: Value) -> None:
        """Sums of `count` tiles and sixteen outputs from `n`, at all positions; a last few rows may be of no tile."""
        code = self.code
        panel = self.depth * WINOGRAD_WIDTH * self.size
        weights = self.weights + (n >> 4) * panel * POSITIONS
        with code.each(0, POSITIONS) as position:
            source, target = self.brought + self.plane * position, self.sums + self.tile_rows * position * SUM_BYTES
            with code.each(0, count, self.rows) as tile:
                starts = [source + (tile + r) * self.channels * self.size for r in range(self.rows)]
                for r, values in enumerate(self.multiply(starts, weights + panel * position)):
                    for j, value in enumerate(values):
                        code.store(value, target + (tile + r) * SUM_BYTES, 4 * self.lanes * j)

    def _finish(self, sites: Sites, tile: Value, n: Value) -> None:
        """Four output pixels of a tile, sixteen outputs from `n`, into the image; those outside of it are left."""
        code, kind = self.code, vector(self.sum_type, self.lanes)
        source = self.sums + tile * SUM_BYTES
        planes = [
            [code.load(kind, source + self.tile_rows * (SUM_BYTES * position), 4 * self.lanes * j) for position in range(POSITIONS)]
            for j in range(self.vectors)
        ]
        pixels = self.result(n, planes)
        y, x = sites.y.get() << 1, sites.x.get() << 1
        image = sites.number() * self.height * self.width
        inside_x, inside_y = x + 1 < self.width, y + 1 < self.height
        base = self.out + ((image + y * self.width + x) * self.stride_out + n * self.out_size)
        right, below = self.stride_out, self.stride_out * self.width
        self._store(pixels[0], base)
        for pixel, inside, step in (
            (pixels[1], inside_x, right), (pixels[2], inside_y, below), (pixels[3], inside_x & inside_y, right + below),
        ):  # fmt: skip
            with code.when(inside):
                self._store(pixel, base + step)

    def _store(self, values: Sequence[Value], place: Region) -> None:
        at = 0
        for value in values:
            self.code.store(value, place, at)
            at += nbytes(value.type)


class _Bytes(Winograd):
    def __init__(self, frame: Frame, way: Wide) -> None:
        super().__init__(frame, 2, way.lanes)
        self.way, self.scale = way, frame.buffer("scale")
        self.output = Output(self.code, *(frame.number(name, i32) for name in ("zero", "low", "high")))

    def transform(self, taps: Sequence[Sequence[Region]], target: Region) -> None:
        code = self.code
        with code.each(0, self.channels, CHANNELS) as c:
            pixels = [[code.unsigned(code.load(vector(i8, CHANNELS), tap + c), i16) for tap in row] for row in taps]
            for position, value in enumerate(square(pixels, inward)):
                code.store(value, target + (self.plane * position + c * 2))

    def multiply(self, starts: Sequence[Region], weights: Region) -> list[list[Value]]:
        code, zero = self.code, self.code.const(vector(i32, self.lanes), 0)
        sums = [[code.variable(zero, zero.type) for _ in range(self.vectors)] for _ in starts]
        with code.each(0, self.depth, 4) as k:
            now = [[cell.get() for cell in row] for row in sums]
            done = self.way.step(code, [start + k * 2 for start in starts], weights + k * (2 * WINOGRAD_WIDTH), now)
            for cells, values in zip(sums, done, strict=True):
                for cell, value in zip(cells, values, strict=True):
                    cell.set(value)
        return [[cell.get() for cell in row] for row in sums]

    def result(self, n: Value, planes: Sequence[Sequence[Value]]) -> list[list[Value]]:
        code = self.code
        done: list[list[Value]] = [[], [], [], []]
        for j, sixteen in enumerate(planes):
            place = (n << 2) + 4 * self.lanes * j
            bias, scale = code.load(vector(i32, self.lanes), self.bias, place), code.load(vector(f32, self.lanes), self.scale, place)
            for pixel, value in zip(done, square([sixteen[i : i + 4] for i in range(0, POSITIONS, 4)], outward), strict=True):
                pixel.append(scaled(code, (value >> 2) + bias, scale))
        packed = self.output.bytes([value for pixel in done for value in pixel])
        return [[code.join(*packed[start : start + self.vectors])] for start in range(0, len(packed), self.vectors)]


def square(values: Sequence[Sequence[Value]], change: Callable[[Sequence[Value]], list[Value]]) -> list[Value]:
    """A 4x4 square with its columns and then its rows changed, row by row."""
    down = zip(*(change(column) for column in zip(*values, strict=True)), strict=True)
    return [value for row in down for value in change(row)]


def inward(d: Sequence[Value]) -> list[Value]:
    """B^T times a column."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def outward(m: Sequence[Value]) -> list[Value]:
    """A^T times a column."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
