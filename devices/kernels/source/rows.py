# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""What the pixel kernel does to one row: sample, mix colours, normalise, lay out. Plain loops that LLVM makes vector code of.

Arguments are addresses unless their names say otherwise; `count`, or columns `first` to `end`, are the pixels to do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

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

f32 = np.float32
HALF = f32(0.5)
ZERO = f32(0.0)
LOWEST = np.int32(0)
HIGHEST = np.int32(255)

kernel = njit(error_model="numpy", boundscheck=False, fastmath={"contract", "nnan", "nsz"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@kernel
def lerp_rows(target, upper, lower, weight, count):
    """float32 target = upper + (lower - upper) * weight, over bytes."""
    if weight == ZERO:
        for i in range(count):
            store_f32(target, i, f32(load_u8(upper, i)))
    else:
        for i in range(count):
            a = f32(load_u8(upper, i))
            store_f32(target, i, a + (f32(load_u8(lower, i)) - a) * weight)


@kernel
def gather(target, row, step, index, weight, count):
    """float32 target = lerp of the samples at index and index + step."""
    right = row + 4 * step
    for x in range(count):
        i = np.int64(load_i32(index, x))
        a = load_f32(row, i)
        store_f32(target, x, a + (load_f32(right, i) - a) * load_f32(weight, x))


@kernel
def gather_pixels(target0, target1, target2, row, step, index, weight, count):
    """As `gather`, for three components that lie side by side."""
    for x in range(count):
        i = np.int64(load_i32(index, x))
        w = load_f32(weight, x)
        j = i + step
        a = load_f32(row, i)
        b = load_f32(row, i + 1)
        c = load_f32(row, i + 2)
        store_f32(target0, x, a + (load_f32(row, j) - a) * w)
        store_f32(target1, x, b + (load_f32(row, j + 1) - b) * w)
        store_f32(target2, x, c + (load_f32(row, j + 2) - c) * w)


@kernel
def copy(target, target_step, source, source_step, count):
    """Bytes from every source_step to every target_step; the common steps are spelled out so that they become vector code."""
    if target_step == 1 and source_step == 1:
        for i in range(count):
            store_u8(target, i, load_u8(source, i))
    elif target_step == 1 and source_step == 2:
        for i in range(count):
            store_u8(target, i, load_u8(source, 2 * i))
    elif target_step == 1 and source_step == 3:
        for i in range(count):
            store_u8(target, i, load_u8(source, 3 * i))
    elif target_step == 1 and source_step == 4:
        for i in range(count):
            store_u8(target, i, load_u8(source, 4 * i))
    else:
        for i in range(count):
            store_u8(target, i * target_step, load_u8(source, i * source_step))


@kernel
def double(target, source, source_step, count):
    """Each source byte twice."""
    half = count >> 1
    if source_step == 1:
        for i in range(half):
            v = load_u8(source, i)
            store_u8(target, 2 * i, v)
            store_u8(target, 2 * i + 1, v)
    elif source_step == 2:
        for i in range(half):
            v = load_u8(source, 2 * i)
            store_u8(target, 2 * i, v)
            store_u8(target, 2 * i + 1, v)
    else:
        for i in range(half):
            v = load_u8(source, source_step * i)
            store_u8(target, 2 * i, v)
            store_u8(target, 2 * i + 1, v)
    if count & 1:
        store_u8(target, count - 1, load_u8(source, source_step * half))


@kernel
def level(value):
    """A value that already has its half added, cut to whole and clipped to a byte."""
    whole = np.int32(value)
    return np.uint8(min(max(whole, LOWEST), HIGHEST))


@kernel
def round_row(target, row, count):
    """Levels of a float32 row."""
    for x in range(count):
        store_u8(target, x, level(load_f32(row, x) + HALF))


@kernel
def mix_floats(target, a, b, c, colour, count):
    """One output channel out of three components: a * m0 + b * m1 + c * m2 + m3."""
    m0 = load_f32(colour, 0)
    m1 = load_f32(colour, 1)
    m2 = load_f32(colour, 2)
    m3 = load_f32(colour, 3) + HALF
    for x in range(count):
        store_u8(target, x, level(load_f32(a, x) * m0 + (load_f32(b, x) * m1 + (load_f32(c, x) * m2 + m3))))


@kernel
def mix_bytes(target, a, b, c, colour, count):
    """As `mix_floats`, over bytes."""
    m0 = load_f32(colour, 0)
    m1 = load_f32(colour, 1)
    m2 = load_f32(colour, 2)
    m3 = load_f32(colour, 3) + HALF
    for x in range(count):
        store_u8(target, x, level(f32(load_u8(a, x)) * m0 + (f32(load_u8(b, x)) * m1 + (f32(load_u8(c, x)) * m2 + m3))))


@kernel
def mix_three_floats(target0, target1, target2, a, b, c, colour, count):
    """Three output channels out of three components in one go."""
    r0, r1, r2, r3 = load_f32(colour, 0), load_f32(colour, 1), load_f32(colour, 2), load_f32(colour, 3) + HALF
    g0, g1, g2, g3 = load_f32(colour, 4), load_f32(colour, 5), load_f32(colour, 6), load_f32(colour, 7) + HALF
    b0, b1, b2, b3 = load_f32(colour, 8), load_f32(colour, 9), load_f32(colour, 10), load_f32(colour, 11) + HALF
    for x in range(count):
        u, v, w = load_f32(a, x), load_f32(b, x), load_f32(c, x)
        store_u8(target0, x, level(u * r0 + (v * r1 + (w * r2 + r3))))
        store_u8(target1, x, level(u * g0 + (v * g1 + (w * g2 + g3))))
        store_u8(target2, x, level(u * b0 + (v * b1 + (w * b2 + b3))))


@kernel
def mix_three_bytes(target0, target1, target2, a, b, c, colour, count):
    """As `mix_three_floats`, over bytes."""
    r0, r1, r2, r3 = load_f32(colour, 0), load_f32(colour, 1), load_f32(colour, 2), load_f32(colour, 3) + HALF
    g0, g1, g2, g3 = load_f32(colour, 4), load_f32(colour, 5), load_f32(colour, 6), load_f32(colour, 7) + HALF
    b0, b1, b2, b3 = load_f32(colour, 8), load_f32(colour, 9), load_f32(colour, 10), load_f32(colour, 11) + HALF
    for x in range(count):
        u, v, w = f32(load_u8(a, x)), f32(load_u8(b, x)), f32(load_u8(c, x))
        store_u8(target0, x, level(u * r0 + (v * r1 + (w * r2 + r3))))
        store_u8(target1, x, level(u * g0 + (v * g1 + (w * g2 + g3))))
        store_u8(target2, x, level(u * b0 + (v * b1 + (w * b2 + b3))))


@kernel
def mix_one_float(target, a, colour, count):
    """One output channel out of one component: a * m0 + m3."""
    m0 = load_f32(colour, 0)
    m3 = load_f32(colour, 3) + HALF
    for x in range(count):
        store_u8(target, x, level(load_f32(a, x) * m0 + m3))


@kernel
def mix_one_byte(target, a, colour, count):
    """As `mix_one_float`, over bytes."""
    m0 = load_f32(colour, 0)
    m3 = load_f32(colour, 3) + HALF
    for x in range(count):
        store_u8(target, x, level(f32(load_u8(a, x)) * m0 + m3))


@kernel
def normalise(target, target_step, levels, scale, offset, count):
    """float32 target = level * scale + offset."""
    if target_step == 1:
        for x in range(count):
            store_f32(target, x, f32(load_u8(levels, x)) * scale + offset)
    else:
        for x in range(count):
            store_f32(target, x * target_step, f32(load_u8(levels, x)) * scale + offset)


@kernel
def normalise_pixels(target, levels0, levels1, levels2, finish, count):
    """As `normalise`, three channels side by side."""
    s0, o0 = load_f32(finish, 0), load_f32(finish, 1)
    s1, o1 = load_f32(finish, 3), load_f32(finish, 4)
    s2, o2 = load_f32(finish, 6), load_f32(finish, 7)
    for x in range(count):
        store_f32(target, 3 * x, f32(load_u8(levels0, x)) * s0 + o0)
        store_f32(target, 3 * x + 1, f32(load_u8(levels1, x)) * s1 + o1)
        store_f32(target, 3 * x + 2, f32(load_u8(levels2, x)) * s2 + o2)


@kernel
def unweave(target0, target1, target2, source, step, count):
    """Three bytes that lie side by side, every `step` (3 or 4) bytes, into three rows."""
    if step == 3:
        for x in range(count):
            store_u8(target0, x, load_u8(source, 3 * x))
            store_u8(target1, x, load_u8(source, 3 * x + 1))
            store_u8(target2, x, load_u8(source, 3 * x + 2))
    else:
        for x in range(count):
            store_u8(target0, x, load_u8(source, 4 * x))
            store_u8(target1, x, load_u8(source, 4 * x + 1))
            store_u8(target2, x, load_u8(source, 4 * x + 2))


@kernel
def weave(target, levels0, levels1, levels2, count):
    """Three rows of levels, side by side."""
    for x in range(count):
        store_u8(target, 3 * x, load_u8(levels0, x))
        store_u8(target, 3 * x + 1, load_u8(levels1, x))
        store_u8(target, 3 * x + 2, load_u8(levels2, x))


@kernel
def weave_alpha(target, levels0, levels1, levels2, count):
    """Three rows of levels and an opaque alpha, side by side."""
    for x in range(count):
        store_u8(target, 4 * x, load_u8(levels0, x))
        store_u8(target, 4 * x + 1, load_u8(levels1, x))
        store_u8(target, 4 * x + 2, load_u8(levels2, x))
        store_u8(target, 4 * x + 3, np.uint8(255))


@kernel
def average(target, step, upper, lower, count):
    """Chroma of two columns of two rows, rounded; a last single column counts twice."""
    for i in range(count >> 1):
        total = np.int32(load_u8(upper, 2 * i)) + np.int32(load_u8(upper, 2 * i + 1))
        total += np.int32(load_u8(lower, 2 * i)) + np.int32(load_u8(lower, 2 * i + 1))
        store_u8(target, i * step, np.uint8((total + 2) >> 2))
    if count & 1:
        total = np.int32(load_u8(upper, count - 1)) + np.int32(load_u8(lower, count - 1))
        store_u8(target, (count >> 1) * step, np.uint8((total + 1) >> 1))


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
def fill_floats(target, step, value, count):
    """The same value at every `step`."""
    if step == 1:
        for x in range(count):
            store_f32(target, x, value)
    else:
        for x in range(count):
            store_f32(target, x * step, value)
