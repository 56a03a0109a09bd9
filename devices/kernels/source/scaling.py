# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Upright scaling, equal to OpenCV's resize (INTER_LINEAR of bytes, modules/imgproc/src/resize) to the bit.

Weights are whole numbers in 11 bits. A source row that an output row needs is coloured first, then brought to output columns (int16 rows,
7 bits after the point); the two last such rows are kept, so that each source row is done once. Columns of these rows count from the
rectangle's left.
"""

from __future__ import annotations

import numpy as np

from devices.kernels import program as at
from devices.kernels.source.colours import colour_words, gray_levels
from devices.kernels.source.memory import (
    load_i16,
    load_i32,
    load_i64,
    load_u8,
    load_word,
    settle,
    store_i16,
    store_i32,
    store_i64,
    store_u8,
)  # fmt: skip
from devices.kernels.source.rows import inlined, kernel

BYTE = np.int32(255)
BYTES, LUMA, PIXELS, PIXEL, YUV = at.BYTES_AS_STORED, at.LUMA, at.PIXELS, at.PIXEL, at.CHROMA


@kernel
def collect_bytes(lefts, rights, row, reach, index, count):
    """The samples at index and index + reach: this part cannot be vector code, so it does nothing else."""
    right = row + reach
    for x in range(count):
        i = np.int64(load_i32(index, x))
        store_u8(lefts, x, load_u8(row, i))
        store_u8(rights, x, load_u8(right, i))


@kernel
def collect_words(lefts, rights, row, reach, index, count):
    """As `collect_bytes`, over words of four bytes."""
    right = row + reach
    for x in range(count):
        i = np.int64(load_i32(index, x))
        store_i32(lefts, x, load_word(row, i))
        store_i32(rights, x, load_word(right, i))


@kernel
def across_bytes(target, lefts, rights, before, after, count):
    """int16 target = samples left and right, weighed."""
    for x in range(count):
        p = np.int32(np.int32(load_u8(lefts, x)) * np.int32(load_i16(before, x)))
        q = np.int32(np.int32(load_u8(rights, x)) * np.int32(load_i16(after, x)))
        store_i16(target, x, np.int16(np.int32(np.int32(p + q) >> 4)))


@inlined
def between(p, q, before, after):
    """int16 between the lowest bytes of two words."""
    return np.int16(np.int32(np.int32(np.int32(np.int32(p & BYTE) * before) + np.int32(np.int32(q & BYTE) * after)) >> 4))


@inlined
def _across_words(target0, target1, target2, lefts, rights, shift, before, after, count):
    for x in range(count):
        p = load_i32(lefts, x)
        q = np.int32(load_i32(rights, x) >> shift)
        wp = np.int32(load_i16(before, x))
        wq = np.int32(load_i16(after, x))
        store_i16(target0, x, between(p, q, wp, wq))
        store_i16(target1, x, between(np.int32(p >> 8), np.int32(q >> 8), wp, wq))
        store_i16(target2, x, between(np.int32(p >> 16), np.int32(q >> 16), wp, wq))


@kernel
def across_words(target0, target1, target2, lefts, rights, shift, before, after, count):
    """As `across_bytes`, for words of three samples; those on the right lie `shift` bits up."""
    if shift:
        _across_words(target0, target1, target2, lefts, rights, 8, before, after, count)
    else:
        _across_words(target0, target1, target2, lefts, rights, 0, before, after, count)


@kernel
def down(target, upper, lower, before, after, count):
    """Levels between two interpolated rows."""
    wa = np.int16(before)
    wb = np.int16(after)
    for x in range(count):
        store_u8(target, x, settle(load_i16(upper, x), load_i16(lower, x), wa, wb))


@kernel
def first_sample(program, planes, c, y):
    """Where component `c` of source row `y` starts."""
    component = program + 8 * (at.COMPONENT + c * at.COMPONENT_WORDS)
    plane = load_i64(component, at.PLANE)
    row_bytes = load_i64(program, at.ROW_BYTES + plane)
    return load_i64(planes, plane) + (y >> load_i64(component, at.ROW_SHIFT)) * row_bytes + load_i64(component, at.OFFSET)


@kernel
def stretch(program, planes, y, slot, count):
    """Source row `y` at output columns, into the interpolated rows of `slot`."""
    store_i64(program, at.KEPT_ROW + slot, y)
    kind = load_i64(program, at.FETCH)
    index = load_i64(program, at.X_INDEX)
    before = load_i64(program, at.X_BEFORE)
    after = load_i64(program, at.X_AFTER)
    target = load_i64(program, at.KEPT + 3 * slot)
    scratch = load_i64(program, at.WORDS_ROW)
    lefts = load_i64(program, at.TAPS)
    rights = load_i64(program, at.TAPS + 1)
    code = load_i64(program, at.CODE)
    reach = load_i64(program, at.REACH)
    row = first_sample(program, planes, 0, y)
    first = load_i64(program, at.FIRST)
    end = load_i64(program, at.END)
    step = load_i64(program, at.COMPONENT + at.STEP)
    if kind == BYTES:
        collect_bytes(lefts, rights, row, reach, index, count)
        across_bytes(target, lefts, rights, before, after, count)
        return
    if kind == LUMA:
        gray_levels(scratch, row + first * step, step, code, end - first)
        collect_bytes(lefts, rights, scratch, reach, index, count)
        across_bytes(target, lefts, rights, before, after, count)
        return
    shift = load_i64(program, at.REACH_SHIFT)
    if kind == YUV:
        chroma = program + 8 * (at.COMPONENT + at.COMPONENT_WORDS)
        shared = load_i64(chroma, at.COLUMN_SHIFT)
        chroma_step = load_i64(chroma, at.STEP)
        skip = (first >> shared) * chroma_step
        p = first_sample(program, planes, 1, y) + skip
        q = first_sample(program, planes, 2, y) + skip
        colour_words(scratch, row + first * step, step, p, q, chroma_step, shared, code, end - first)
        row = scratch
    elif kind == PIXEL:
        word = np.int32(load_u8(row, 0)) | np.int32(load_u8(row, 1)) << 8 | np.int32(load_u8(row, 2)) << 16
        store_i32(scratch, 0, np.int32(word))
        row = scratch
    target1 = load_i64(program, at.KEPT + 3 * slot + 1)
    target2 = load_i64(program, at.KEPT + 3 * slot + 2)
    collect_words(lefts, rights, row, reach, index, count)
    across_words(target, target1, target2, lefts, rights, shift, before, after, count)


@kernel
def fetch_scaled(program, planes, y, first, count):
    """All components of table row `y` as bytes at `count` output columns from `first` on."""
    upper = np.int64(load_i32(load_i64(program, at.Y_UPPER), y))
    lower = np.int64(load_i32(load_i64(program, at.Y_LOWER), y))
    before = load_i32(load_i64(program, at.Y_BEFORE), y)
    after = load_i32(load_i64(program, at.Y_AFTER), y)
    slot = np.int64(0)
    if load_i64(program, at.KEPT_ROW + 1) == upper or load_i64(program, at.KEPT_ROW) == lower:
        slot = np.int64(1)
    if load_i64(program, at.KEPT_ROW) == upper:
        slot = np.int64(0)
    if load_i64(program, at.KEPT_ROW + slot) != upper:
        stretch(program, planes, upper, slot, count)
    other = slot
    if lower != upper:
        other = 1 - slot
        if load_i64(program, at.KEPT_ROW + other) != lower:
            stretch(program, planes, lower, other, count)
    for c in range(load_i64(program, at.COMPONENTS)):
        a = load_i64(program, at.KEPT + 3 * slot + c)
        b = load_i64(program, at.KEPT + 3 * other + c)
        down(load_i64(program, at.BYTES + c) + first, a, b, before, after, count)
