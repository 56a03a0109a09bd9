# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""What the pixel kernel does to one row of bytes: copy, normalise, lay out. Plain loops that LLVM makes vector code of.

Arguments are addresses unless their names say otherwise; `count` is the pixels to do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from devices.kernels.source.memory import load_f32, load_u8, store_f32, store_u8

f32 = np.float32
HALF = f32(0.5)
LOWEST = np.int32(0)
HIGHEST = np.int32(255)

kernel = njit(error_model="numpy", boundscheck=False, fastmath={"contract", "nnan", "nsz"}, no_cpython_wrapper=True, no_cfunc_wrapper=True)
inlined = njit(
    error_model="numpy",
    boundscheck=False,
    fastmath={"contract", "nnan", "nsz"},
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    forceinline=True,
)
"""A part of other kernels that is worked out anew for the constants of each place that uses it."""


@kernel
def level(value):
    """A value that already has its half added, cut to whole and clipped to a byte."""
    whole = np.int32(value)
    return np.uint8(min(max(whole, LOWEST), HIGHEST))


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


@inlined
def finished(byte, mean, factor, divides):
    """(level - mean) / std, rounded as NumPy rounds it; `factor` is std, or 1 / std where that is exact."""
    return (byte - mean) / factor if divides else (byte - mean) * factor


@inlined
def _normalise(target, target_step, levels, mean, factor, divides, count):
    for x in range(count):
        store_f32(target, x * target_step, finished(f32(load_u8(levels, x)), mean, factor, divides))


@kernel
def normalise(target, target_step, levels, mean, factor, divides, count):
    """float32 targets out of a row of levels."""
    if target_step == 1 and divides:
        _normalise(target, 1, levels, mean, factor, True, count)
    elif target_step == 1:
        _normalise(target, 1, levels, mean, factor, False, count)
    else:
        _normalise(target, target_step, levels, mean, factor, divides, count)


@inlined
def _normalise_pixels(target, levels0, levels1, levels2, finish, divides, count):
    m0, f0 = load_f32(finish, 0), load_f32(finish, 1)
    m1, f1 = load_f32(finish, 3), load_f32(finish, 4)
    m2, f2 = load_f32(finish, 6), load_f32(finish, 7)
    for x in range(count):
        store_f32(target, 3 * x, finished(f32(load_u8(levels0, x)), m0, f0, divides))
        store_f32(target, 3 * x + 1, finished(f32(load_u8(levels1, x)), m1, f1, divides))
        store_f32(target, 3 * x + 2, finished(f32(load_u8(levels2, x)), m2, f2, divides))


@kernel
def normalise_pixels(target, levels0, levels1, levels2, finish, divides, count):
    """As `normalise`, three channels side by side."""
    if divides:
        _normalise_pixels(target, levels0, levels1, levels2, finish, True, count)
    else:
        _normalise_pixels(target, levels0, levels1, levels2, finish, False, count)


@kernel
def swap(target, source, count):
    """Three bytes a pixel, the first and the third exchanged."""
    for x in range(count):
        a, b, c = load_u8(source, 3 * x), load_u8(source, 3 * x + 1), load_u8(source, 3 * x + 2)
        store_u8(target, 3 * x, c)
        store_u8(target, 3 * x + 1, b)
        store_u8(target, 3 * x + 2, a)


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
def fill_floats(target, step, value, count):
    """The same value at every `step`."""
    if step == 1:
        for x in range(count):
            store_f32(target, x, value)
    else:
        for x in range(count):
            store_f32(target, x * step, value)
