"""Operators over neighbourhoods, cut into tiles that fit the local memory: convolution, pooling, products of matrices.

A tile is a block of output rows, columns and channels. Its part of the input is loaded with its padding, then the weights of its channels,
and what consecutive tiles share stays where it is. Of all tilings that fit, the one that moves the fewest bytes is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from devices.native.operators import Window
from devices.vpu.emitter import Emitter, Place, Refusal, even_parts, parts, placed
from devices.vpu.instructions import PARAMS, Conv, Depthwise, Fill, Instruction, Largest, Mean

TILE_BYTES = 1024
"""Bytes that a machine could move in the time that a tile's own instructions take; of two tilings the one of fewer tiles wins."""

Sizes = tuple[int, int, int]
"""Height, width, channels."""
Make = Callable[[tuple[int, int, int, int], Sizes, Sizes], Instruction]
"""A tile's instruction from the addresses of its input, weights, parameters and output, and the sizes of input and output."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Output rows, columns and channels, each from one to before another."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    channels: tuple[int, int]

    @property
    def shape(self) -> Sizes:
        return tuple(end - begin for begin, end in (self.rows, self.columns, self.channels))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Weights:
    """int8 weights and parameters, channel after channel: `own` are each output channel's bytes over all input channels; without, weights
    lie (taps, channels), a channel over itself."""

    weights: Place
    params: Place
    own: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """One picture through one window: pixels `x_step` and `y_step` bytes apart, `fill` for padding, `region` the output rows and columns
    that are made."""

    x: Place
    x_sizes: Sizes
    x_step: int
    y: Place
    y_sizes: Sizes
    y_step: int
    window: Window
    fill: int
    region: tuple[tuple[int, int], tuple[int, int]]
    make: Make
    weights: Weights | None = None

    @property
    def whole(self) -> bool:
        """Whether each output channel reads all channels of the input."""
        return self.weights is not None and self.weights.own

    def read(self, tile: Tile) -> Sizes:
        """Sizes of the input that a tile needs, with padding."""
        return self.read_sizes(*tile.shape)

    def read_sizes(self, rows: int, columns: int, channels: int) -> Sizes:
        (sh, sw), (eh, ew) = self.window.strides, self.window.extent
        return (rows - 1) * sh + eh, (columns - 1) * sw + ew, self.x_sizes[2] if self.whole else channels

    def bytes_of(self, rows: int, columns: int, channels: int) -> tuple[int, int, int, int]:
        """Bytes of input, weights, parameters and output of a tile of these sizes."""
        taps = prod(self.window.kernel) * (self.x_sizes[2] if self.whole else 1)
        weights = (channels * taps, channels * PARAMS * 4) if self.weights else (0, 0)
        return prod(self.read_sizes(rows, columns, channels)), *weights, rows * columns * channels


def emit(e: Emitter, one: Pass) -> None:
    """Writes all tiles. Raises Refusal where not even one output value's operands fit the local memory."""
    (rows, columns), channels = one.region, one.y_sizes[2]
    if not channels or rows[0] == rows[1] or columns[0] == columns[1]:
        return
    *sizes, weights_first = _tiling(one, e.local_bytes)
    # Operands lie where the largest tile's do, so that what stays is found there.
    (x, weights, params, y), _ = placed(*one.bytes_of(*sizes))
    blocks = list(parts(0, channels, sizes[2]))
    bands = list(product(parts(*rows, sizes[0]), parts(*columns, sizes[1])))
    loaded_x = loaded_weights = None
    for block, (high, wide) in product(blocks, bands) if weights_first else ((block, band) for band, block in product(bands, blocks)):
        tile, wanted = Tile(high, wide, block), (high, wide, None if one.whole else block)
        if loaded_x != wanted:
            _load_picture(e, one, tile, x)
            loaded_x = wanted
        if one.weights and loaded_weights != block:
            _load_weights(e, one.weights, one, block, weights, params)
            loaded_weights = block
        e.emit(one.make((x, weights, params, y), one.read(tile), tile.shape))
        _store_picture(e, one, tile, y)


def _tiling(one: Pass, local_bytes: int) -> tuple[int, int, int, bool]:
    """Rows, columns and channels of a tile, and whether the weights of a block stay for all of the picture."""
    (rows, columns) = (end - begin for begin, end in one.region)
    best: tuple[int, tuple[int, int, int, bool]] | None = None
    for tile_channels in even_parts(one.y_sizes[2]):
        for tile_rows, tile_columns in _bands(rows, columns):
            sizes = one.bytes_of(tile_rows, tile_columns, tile_channels)
            if placed(*sizes)[1] > local_bytes:
                continue
            bands, blocks = -(-rows // tile_rows) * -(-columns // tile_columns), -(-one.y_sizes[2] // tile_channels)
            x, weights = sizes[0] * bands, (sizes[1] + sizes[2]) * blocks
            again_x, again_w = 1 if one.whole else blocks, bands
            costs = {
                True: x * (again_x if bands == 1 else blocks) + weights,
                False: x * again_x + weights * (again_w if blocks > 1 else 1),
            }
            for weights_first, cost in costs.items():
                cost += bands * blocks * TILE_BYTES
                if best is None or cost < best[0]:
                    best = cost, (tile_rows, tile_columns, tile_channels, weights_first)
            break  # the largest band that fits moves the least
    if best is None:
        raise Refusal(f"expected at most {local_bytes} bytes of local memory for one output value, got {placed(*one.bytes_of(1, 1, 1))[1]}")
    return best[1]


def _bands(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Whole rows first, then parts of one."""
    yield from ((count, columns) for count in even_parts(rows))
    yield from ((1, count) for count in even_parts(columns)[1:])


def _load_picture(e: Emitter, one: Pass, tile: Tile, local: int) -> None:
    """The tile's part of the input, padding filled in."""
    sizes, (height, width, _) = one.read(tile), one.x_sizes
    top = tile.rows[0] * one.window.strides[0] - one.window.pads[0]
    left = tile.columns[0] * one.window.strides[1] - one.window.pads[1]
    y0, y1, x0, x1 = max(top, 0), min(top + sizes[0], height), max(left, 0), min(left + sizes[1], width)
    if (y1 - y0, x1 - x0) != sizes[:2]:
        e.emit(Fill(local, prod(sizes), one.fill))
    if y1 > y0 and x1 > x0:
        first = 0 if one.whole else tile.channels[0]
        e.load(
            one.x.at((y0 * width + x0) * one.x_step + first), local + ((y0 - top) * sizes[1] + x0 - left) * sizes[2],
            (y1 - y0, x1 - x0, sizes[2]), (width * one.x_step, one.x_step, 1), (sizes[1] * sizes[2], sizes[2], 1),
        )  # fmt: skip


def _load_weights(e: Emitter, given: Weights, one: Pass, block: tuple[int, int], weights: int, params: int) -> None:
    first, count, taps = block[0], block[1] - block[0], prod(one.window.kernel)
    if given.own:
        each = taps * one.x_sizes[2]
        e.load_bytes(given.weights.at(first * each), weights, count * each)
    else:
        e.load(given.weights.at(first), weights, (1, taps, count), (0, one.y_sizes[2], 1), (0, count, 1))
    e.load_bytes(given.params.at(first * PARAMS * 4), params, count * PARAMS * 4)


def _store_picture(e: Emitter, one: Pass, tile: Tile, local: int) -> None:
    rows, columns, channels = tile.shape
    width = one.y_sizes[1]
    place = one.y.at((tile.rows[0] * width + tile.columns[0]) * one.y_step + tile.channels[0])
    e.store(local, place, (rows, columns, channels), (width * one.y_step, one.y_step, 1), (columns * channels, channels, 1))


def conv(window: Window, zero_x: int, zero_y: int, low: int, high: int) -> Make:
    """The instruction of a tile of a convolution over all channels."""
    steps = (*window.kernel, *window.strides, *window.dilations)
    return lambda at, x, y: Conv._make((at[0], *x, at[1], at[2], at[3], *y, *steps, zero_x, zero_y, low, high))


def depthwise(window: Window, zero_x: int, zero_y: int, low: int, high: int) -> Make:
    """The instruction of a tile of a convolution of each channel by itself."""
    steps = (*window.kernel, *window.strides, *window.dilations)
    return lambda at, x, y: Depthwise._make((at[0], *x, at[1], at[2], at[3], *y[:2], *steps, zero_x, zero_y, low, high))


def largest(window: Window) -> Make:
    """The instruction of a tile of max pooling."""
    steps = (*window.kernel, *window.strides, *window.dilations)
    return lambda at, x, y: Largest._make((at[0], *x, at[3], *y[:2], *steps))


def mean(window: Window, zero_x: int, multiplier: int, shift: int, zero_y: int) -> Make:
    """The instruction of a tile of average pooling."""
    steps = (*window.kernel, *window.strides, *window.dilations)
    return lambda at, x, y: Mean._make((at[0], *x, at[3], *y[:2], *steps, zero_x, multiplier, shift, zero_y))
