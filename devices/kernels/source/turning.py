# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Samples along a line across the source, for turned pictures: bilinear, in float32.

Arguments are addresses unless their names say otherwise; columns `first` to `end` are the pixels to do.
"""

from __future__ import annotations

import numpy as np

from devices.kernels import program as at
from devices.kernels.source.memory import (
    load_f32,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    store_f32,
    store_i32,
    store_u8,
    store_u16,
)  # fmt: skip
from devices.kernels.source.rows import HALF, f32, kernel

ZERO = f32(0.0)


@kernel
def inside(program, x, y, dx, dy, backwards):
    """First (or, backwards, one past the last) output column whose sample lies in the source; the other end where none does."""
    right = f32(load_i64(program, at.SOURCE_WIDTH)) - HALF
    bottom = f32(load_i64(program, at.SOURCE_HEIGHT)) - HALF
    width = load_i64(program, at.WIDTH)
    for k in range(width):
        i = width - 1 - k if backwards else k
        sx = x + f32(i) * dx
        sy = y + f32(i) * dy
        if sx >= -HALF and sx < right and sy >= -HALF and sy < bottom:
            return i + 1 if backwards else i
    return np.int64(0) if backwards else width


@kernel
def locate(sites, weights_x, weights_y, component, row_bytes, width, height, x, y, dx, dy, first, end):
    """Byte offset of the upper left sample at (x + i dx, y + i dy), and weights of the right and the lower one.

    Sample centres are at whole numbers. The four samples are always neighbours inside the plane: at its edges, and where chroma is
    shared, a weight becomes 0 or 1.
    """
    step = np.int32(load_i64(component, at.STEP))
    column_shift = np.int32(load_i64(component, at.COLUMN_SHIFT))
    row_shift = np.int32(load_i64(component, at.ROW_SHIFT))
    stride = np.int32(row_bytes)
    last_column = np.int32(width - 1)
    last_row = np.int32(height - 1)
    last_left = np.int32(((width - 1) >> load_i64(component, at.COLUMN_SHIFT)) - 1)
    last_upper = np.int32(((height - 1) >> load_i64(component, at.ROW_SHIFT)) - 1)
    none = np.int32(0)
    one = np.int32(1)
    for i in range(first, end):
        sx = min(max(x + f32(np.int32(i)) * dx, ZERO), f32(last_column))
        sy = min(max(y + f32(np.int32(i)) * dy, ZERO), f32(last_row))
        column = np.int32(sx)
        row = np.int32(sy)
        c0 = np.int32(column >> column_shift)
        r0 = np.int32(row >> row_shift)
        c1 = np.int32(min(np.int32(column + one), last_column) >> column_shift)
        r1 = np.int32(min(np.int32(row + one), last_row) >> row_shift)
        left = max(min(c0, last_left), none)
        upper = max(min(r0, last_upper), none)
        store_i32(sites, i, np.int32(np.int32(upper * stride) + np.int32(left * step)))
        store_f32(weights_x, i, f32(np.int32(c0 - left)) + f32(np.int32(c1 - c0)) * (sx - f32(column)))
        store_f32(weights_y, i, f32(np.int32(r0 - upper)) + f32(np.int32(r1 - r0)) * (sy - f32(row)))


@kernel
def collect(corners, lower_corners, source, sites, step, stride, first, end):
    """The bytes around each sample, left and right side by side: this part cannot be vector code, so it does nothing else."""
    lower = source + stride
    if step == 1:
        for i in range(first, end):
            site = np.int64(load_i32(sites, i))
            store_u16(corners, i, load_u16(source + site, 0))
            store_u16(lower_corners, i, load_u16(lower + site, 0))
    else:
        for i in range(first, end):
            site = np.int64(load_i32(sites, i))
            store_u8(corners, 2 * i, load_u8(source, site))
            store_u8(corners, 2 * i + 1, load_u8(source + step, site))
            store_u8(lower_corners, 2 * i, load_u8(lower, site))
            store_u8(lower_corners, 2 * i + 1, load_u8(lower + step, site))


@kernel
def blend(target, corners, lower_corners, weights_x, weights_y, first, end):
    """Bilinear float32 samples out of their corners."""
    for i in range(first, end):
        wx = load_f32(weights_x, i)
        a = f32(load_u8(corners, 2 * i))
        a += (f32(load_u8(corners, 2 * i + 1)) - a) * wx
        b = f32(load_u8(lower_corners, 2 * i))
        b += (f32(load_u8(lower_corners, 2 * i + 1)) - b) * wx
        store_f32(target, i, a + (b - a) * load_f32(weights_y, i))


@kernel
def fetch_affine(program, planes, x, y, dx, dy, first, end):
    """All components at output columns first..end of the row whose first sample is at (x, y)."""
    width = load_i64(program, at.SOURCE_WIDTH)
    height = load_i64(program, at.SOURCE_HEIGHT)
    row = 4 * load_i64(program, at.WIDTH)
    sites = load_i64(program, at.SITES)
    weights_x = sites + row
    weights_y = weights_x + row
    corners = weights_y + row
    lower_corners = corners + row
    for c in range(load_i64(program, at.COMPONENTS)):
        component = program + 8 * (at.COMPONENT + c * at.COMPONENT_WORDS)
        plane = load_i64(component, at.PLANE)
        row_bytes = load_i64(program, at.ROW_BYTES + plane)
        # The second chroma component lies where the first one does, and packed components lie side by side.
        if c == 0 or (c == 1 and load_i64(component, at.COLUMN_SHIFT)):
            locate(sites, weights_x, weights_y, component, row_bytes, width, height, x, y, dx, dy, first, end)
        # A plane of one column or row has no neighbours: its only one stands for them.
        step = load_i64(component, at.STEP) if (width - 1) >> load_i64(component, at.COLUMN_SHIFT) else 0
        stride = row_bytes if (height - 1) >> load_i64(component, at.ROW_SHIFT) else 0
        collect(corners, lower_corners, load_i64(planes, plane) + load_i64(component, at.OFFSET), sites, step, stride, first, end)
        blend(load_i64(program, at.ROWS + c), corners, lower_corners, weights_x, weights_y, first, end)
