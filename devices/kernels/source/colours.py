# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Colours of one row: YUV to RGB in whole numbers, and every other conversion as float sums.

Arguments are addresses unless their names say otherwise; `count` is the pixels to do. `code` is int32[6] as `at.CODE` says. YUV to RGB is
that of OpenCV (modules/imgproc/src/color_yuv: 20-bit fixed point, rounded once for each channel), equal to the bit.
"""

from __future__ import annotations

import numpy as np

from devices.kernels.source.memory import load_f32, load_i32, load_u8, store_i32, store_u8
from devices.kernels.source.rows import HALF, HIGHEST, LOWEST, f32, inlined, kernel, level

GRAY_LEVEL = np.int32(128)
ROUND = np.int32(1 << 19)


@inlined
def lit(y, black, weight):
    """Luma of one pixel in 20-bit fixed point."""
    return np.int32(max(np.int32(np.int32(y) - black), LOWEST) * weight)


@inlined
def channel(luma, chroma):
    """A byte out of the fixed-point sum."""
    return min(max(np.int32(np.int32(luma + chroma) >> 20), LOWEST), HIGHEST)


@inlined
def _planes(target0, target1, target2, y, y_step, p, q, step, shared, code, count):
    black, wy, w0 = load_i32(code, 0), load_i32(code, 1), load_i32(code, 2)
    wp, wq, w2 = load_i32(code, 3), load_i32(code, 4), load_i32(code, 5)
    for i in range(count >> shared):
        cp = np.int32(np.int32(load_u8(p, i * step)) - GRAY_LEVEL)
        cq = np.int32(np.int32(load_u8(q, i * step)) - GRAY_LEVEL)
        c0 = np.int32(ROUND + np.int32(cp * w0))
        c1 = np.int32(ROUND + np.int32(np.int32(cp * wp) + np.int32(cq * wq)))
        c2 = np.int32(ROUND + np.int32(cq * w2))
        x = i << shared
        l0 = lit(load_u8(y, x * y_step), black, wy)
        store_u8(target0, x, np.uint8(channel(l0, c0)))
        store_u8(target1, x, np.uint8(channel(l0, c1)))
        store_u8(target2, x, np.uint8(channel(l0, c2)))
        if shared:
            l1 = lit(load_u8(y, (x + 1) * y_step), black, wy)
            store_u8(target0, x + 1, np.uint8(channel(l1, c0)))
            store_u8(target1, x + 1, np.uint8(channel(l1, c1)))
            store_u8(target2, x + 1, np.uint8(channel(l1, c2)))


@inlined
def _words(target, y, y_step, p, q, step, shared, code, count):
    black, wy, w0 = load_i32(code, 0), load_i32(code, 1), load_i32(code, 2)
    wp, wq, w2 = load_i32(code, 3), load_i32(code, 4), load_i32(code, 5)
    for i in range(count >> shared):
        cp = np.int32(np.int32(load_u8(p, i * step)) - GRAY_LEVEL)
        cq = np.int32(np.int32(load_u8(q, i * step)) - GRAY_LEVEL)
        c0 = np.int32(ROUND + np.int32(cp * w0))
        c1 = np.int32(ROUND + np.int32(np.int32(cp * wp) + np.int32(cq * wq)))
        c2 = np.int32(ROUND + np.int32(cq * w2))
        x = i << shared
        l0 = lit(load_u8(y, x * y_step), black, wy)
        store_i32(target, x, np.int32(channel(l0, c0) | np.int32(channel(l0, c1) << 8) | np.int32(channel(l0, c2) << 16)))
        if shared:
            l1 = lit(load_u8(y, (x + 1) * y_step), black, wy)
            store_i32(target, x + 1, np.int32(channel(l1, c0) | np.int32(channel(l1, c1) << 8) | np.int32(channel(l1, c2) << 16)))


@kernel
def colour_planes(target0, target1, target2, y, y_step, p, q, step, shared, code, count):
    """Three rows of channels out of luma and chroma: `p` makes the first channel, `q` the third, both the second.

    With `shared`, two pixels have one sample of chroma. The layouts that exist are spelled out so that they become vector code.
    """
    if not shared:
        _planes(target0, target1, target2, y, 1, p, q, 1, 0, code, count)
        return
    if y_step == 2:
        _planes(target0, target1, target2, y, 2, p, q, 4, 1, code, count)
    elif step == 2:
        _planes(target0, target1, target2, y, 1, p, q, 2, 1, code, count)
    else:
        _planes(target0, target1, target2, y, 1, p, q, 1, 1, code, count)
    if count & 1:
        x = count - 1
        i = x >> 1
        _planes(target0 + x, target1 + x, target2 + x, y + x * y_step, 1, p + i * step, q + i * step, 1, 0, code, 1)


@kernel
def colour_words(target, y, y_step, p, q, step, shared, code, count):
    """As `colour_planes`, the channels of a pixel packed into one word, the first one lowest."""
    if not shared:
        _words(target, y, 1, p, q, 1, 0, code, count)
        return
    if y_step == 2:
        _words(target, y, 2, p, q, 4, 1, code, count)
    elif step == 2:
        _words(target, y, 1, p, q, 2, 1, code, count)
    else:
        _words(target, y, 1, p, q, 1, 1, code, count)
    if count & 1:
        x = count - 1
        i = x >> 1
        _words(target + 4 * x, y + x * y_step, 1, p + i * step, q + i * step, 1, 0, code, 1)


@kernel
def gray_levels(target, y, step, code, count):
    """Gray pictures are full range: luma alone, stretched."""
    black, weight = load_i32(code, 0), load_i32(code, 1)
    if step == 1:
        for x in range(count):
            store_u8(target, x, np.uint8(channel(lit(load_u8(y, x), black, weight), ROUND)))
    else:
        for x in range(count):
            store_u8(target, x, np.uint8(channel(lit(load_u8(y, x * step), black, weight), ROUND)))


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
