"""Tables of windows over an image: where the input pixel of each tap lies, and which taps lie outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Windows:
    """`rows` int32 [height_out, taps_y] and `columns` int32 [width_out, taps_x]: byte offsets inside an image, -1 outside of it.

    `image_bytes`, `row_bytes`: bytes of an image and of a row of it; `tap_bytes`: from one tap to the next across.
    """

    rows: np.ndarray
    columns: np.ndarray
    image_bytes: int
    tap_bytes: int
    row_bytes: int

    def words(self) -> dict[str, np.ndarray | int]:
        """The site words, but `pad`."""
        (height, taps_y), (width, taps_x) = self.rows.shape, self.columns.shape
        inner = np.flatnonzero((self.columns >= 0).all(1))
        begin, end = (int(inner[0]), int(inner[-1]) + 1) if len(inner) else (0, 0)
        return {
            "rows": self.rows, "columns": self.columns, "taps_y": taps_y, "taps_x": taps_x, "height_out": height, "width_out": width,
            "inner_begin": begin, "inner_end": end, "image_bytes": self.image_bytes, "tap_bytes": self.tap_bytes,
            "row_bytes": self.row_bytes,
        }  # fmt: skip


def windows(
    size: tuple[int, int],
    pixel_bytes: int,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    ceil: bool = False,
) -> Windows:
    """Windows of `kernel` (height, width) over images of `size` (height, width) with `pixel_bytes` from one pixel to the next.

    `pads` are top, left, bottom, right (the order of ONNX); `ceil` keeps a last window that starts inside and ends outside.
    Raises ValueError where no window fits.
    """
    tables = []
    for axis, step in ((0, pixel_bytes * size[1]), (1, pixel_bytes)):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        room = size[axis] + pads[axis] + pads[axis + 2] - reach
        if room < 0:
            raise ValueError(f"expected a window of at most {size[axis] + pads[axis] + pads[axis + 2]} pixels, got {reach}")
        count = (-(-room // strides[axis]) if ceil else room // strides[axis]) + 1
        if ceil and (count - 1) * strides[axis] >= size[axis] + pads[axis]:
            count -= 1
        taps = np.arange(count)[:, None] * strides[axis] - pads[axis] + np.arange(kernel[axis]) * dilations[axis]
        inside = (taps >= 0) & (taps < size[axis])
        tables.append(np.where(inside, taps * step, -1).astype(np.int32))
    if size[0] * size[1] * pixel_bytes >= 2**31:
        raise ValueError(f"expected an image of less than 2 GiB, got {size[0]} x {size[1]} pixels of {pixel_bytes} bytes")
    return Windows(tables[0], tables[1], size[0] * size[1] * pixel_bytes, dilations[1] * pixel_bytes, size[1] * pixel_bytes)


def winograd(size: tuple[int, int], pixel_bytes: int, *, pads: Sequence[int] = (0, 0, 0, 0)) -> tuple[Windows, dict[str, int]]:
    """Windows of the 2x2 tiles of a 3x3 convolution with stride 1 (4x4 pixels, two apart), and the words of the output's size."""
    height, width = size[0] + pads[0] + pads[2] - 2, size[1] + pads[1] + pads[3] - 2
    if height < 1 or width < 1:
        raise ValueError(f"expected an image of at least 3 x 3 pixels with its padding, got {height + 2} x {width + 2}")
    odd = (pads[0], pads[1], pads[2] + height % 2, pads[3] + width % 2)
    return windows(size, pixel_bytes, (4, 4), strides=(2, 2), pads=odd), {"pixels_x": width, "pixels_y": height}


def transposed(
    size: tuple[int, int],
    pixel_bytes: int,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    output_padding: tuple[int, int] = (0, 0),
) -> Windows:
    """Windows of a transposed convolution (ONNX's ConvTranspose): each output pixel sees, tap by tap, the input pixels that reach it.

    Taps that no input pixel lies under read the pad, like those outside. Raises ValueError where nothing is left of the output.
    """
    tables = []
    for axis, step in ((0, pixel_bytes * size[1]), (1, pixel_bytes)):
        count = (
            strides[axis] * (size[axis] - 1) + output_padding[axis] + dilations[axis] * (kernel[axis] - 1) + 1 - pads[axis] - pads[axis + 2]
        )
        if count < 1:
            raise ValueError(f"expected an output of at least one pixel, got {count} with pads {tuple(pads)}")
        reached = np.arange(count)[:, None] + pads[axis] - np.arange(kernel[axis]) * dilations[axis]
        taps = reached // strides[axis]
        there = (reached % strides[axis] == 0) & (taps >= 0) & (taps < size[axis])
        tables.append(np.where(there, taps * step, -1).astype(np.int32))
    # No two neighbouring taps lie side by side, so that none may be taken as one run.
    return Windows(tables[0], tables[1], size[0] * size[1] * pixel_bytes, 0, size[1] * pixel_bytes)


def picked(size: tuple[int, int], pixel_bytes: int, rows: np.ndarray, columns: np.ndarray) -> Windows:
    """Windows of one tap for the kernel `pick`: output pixel (y, x) is input pixel (rows[y], columns[x]), or the pad where one is negative.

    Nearest resizing, slices with any step and padding are such choices. Raises ValueError for a row or column past the image.
    """
    for name, given, limit in (("row", rows, size[0]), ("column", columns, size[1])):
        if given.max(initial=-1) >= limit:
            raise ValueError(f"expected every {name} below {limit}, got {given.max()}")
    tables = [
        np.where(given < 0, -1, given * step).astype(np.int32) for given, step in ((rows, size[1] * pixel_bytes), (columns, pixel_bytes))
    ]
    return Windows(tables[0][:, None], tables[1][:, None], size[0] * size[1] * pixel_bytes, pixel_bytes, size[1] * pixel_bytes)
