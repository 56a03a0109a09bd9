"""Which tiles exist on each instruction set, and which one a product of given size takes. Imports no compiler."""

from __future__ import annotations

from typing import Literal

from devices.native.isa import Isa
from devices.native.kernels.layout import channel_stride, round_up

HEIGHTS: dict[str, dict[int, tuple[int, ...]]] = {
    "generic": {8: (1, 2, 4), 16: (1, 2)},
    "pmaddwd": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5, 6), 24: (1, 2, 3)},
    "vpdpbusd.256": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5, 6), 24: (1, 2, 3, 4)},
    "vpdpbusd.512": {16: (1, 2, 4, 8, 12), 32: (1, 2, 3, 4, 6, 8, 12), 48: (1, 2, 4, 6, 8)},
    "smlal": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4)},
    "sdot": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 6)},
}
"""Rows that tiles of each width come in; the tallest that fits is used for what remains."""

PAIR_SAFE_HEIGHTS = {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5), 24: (1, 2, 3)}
"""The same for `pmaddubsw`, which needs two registers more."""

FLOAT_HEIGHTS: dict[str, dict[int, tuple[int, ...]]] = {
    "generic": {8: (1, 2, 4), 16: (1, 2)},
    "pmaddwd": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5, 6), 24: (1, 2, 3, 4)},
    "vpdpbusd.256": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5, 6), 24: (1, 2, 3, 4)},
    "vpdpbusd.512": {16: (1, 2, 4, 8, 12), 32: (1, 2, 3, 4, 6, 8, 12), 48: (1, 2, 4, 6, 8)},
    "smlal": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5)},
    "sdot": {8: (1, 2, 4, 8), 16: (1, 2, 3, 4, 5)},
}
"""The same for float32, whose multiplication adds by itself."""


WINOGRAD_ROWS = {"generic": 2, "pmaddwd": 6, "vpdpbusd": 6, "smlal": 4, "sdot": 4}
WINOGRAD_WIDTH = 16
"""Tiles (of 2x2 outputs) and channels that a Winograd convolution multiplies at once."""


Kind = Literal["bytes", "pair-safe", "floats"]


def heights(isa: Isa, kind: Kind = "bytes") -> dict[int, tuple[int, ...]]:
    """Rows that the tiles of a kind of product come in, ascending, by their columns."""
    if kind == "pair-safe":
        isa.require("pmaddubsw")
        return PAIR_SAFE_HEIGHTS
    key = f"vpdpbusd.{8 * isa.vector}" if isa.dot == "vpdpbusd" else isa.dot
    return (FLOAT_HEIGHTS if kind == "floats" else HEIGHTS)[key]


def choose(isa: Isa, rows: int, columns: int, kind: Kind = "bytes", *, width: int | None = None) -> tuple[int, int]:
    """(rows, columns) of the tile for a product with `rows` rows an inference and `columns` outputs; `width`: columns that are given.

    Costs count vector instructions of the inner loop: a tile of r rows and c vectors takes r * c multiplications (two or three
    instructions where they do not add by themselves) and loads r rows and c columns.
    """
    lanes = isa.vector // 4
    best: tuple[float, int, int] | None = None
    adds = kind == "floats" or isa.dot not in ("pmaddwd", "generic")
    steps = 3 if kind == "pair-safe" else 1 if adds else 2
    for wide, sizes_of in heights(isa, kind).items():
        if round_up(columns, wide) > channel_stride(columns) or width not in (None, wide):
            continue
        vectors = wide // lanes
        product = steps * vectors
        for tall in sizes_of:
            sizes, left = [], rows
            while left > 0:
                size = max(h for h in sizes_of if h <= min(left, tall))
                sizes.append(size)
                left -= size
                if size == tall and left >= tall:  # all the same until the last ones
                    sizes += [tall] * (left // tall)
                    left %= tall
            cost = sum(max(size * product, 4) + 0.5 * size + vectors + 1 for size in sizes) * (round_up(columns, wide) // wide)
            if best is None or cost < best[0]:
                best = (cost, tall, wide)
    assert best is not None
    return best[1], best[2]


def tallest(isa: Isa, rows: int, width: int) -> int:
    """Rows of the float32 tile of this width for a product with `rows` rows."""
    return max(height for height in heights(isa, "floats")[width] if height <= max(rows, 1))
