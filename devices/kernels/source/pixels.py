# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Source planes to model input (or picture) in one pass: sample, convert colour, normalise, lay out.

`render` goes row by row. A row of each source component is brought to output columns (float32 where the picture is turned, bytes
otherwise), turned into uint8 levels of each output channel, and stored. Levels are rounded before they are normalised, so that a tensor
made directly equals one made from a picture made first.
"""

from __future__ import annotations

import numpy as np

from devices.kernels import program as at
from devices.kernels.source.colours import (
    colour_planes,
    gray_levels,
    mix_bytes,
    mix_floats,
    mix_one_byte,
    mix_one_float,
    mix_three_bytes,
    mix_three_floats,
    round_row,
)  # fmt: skip
from devices.kernels.source.memory import load_f32, load_f64, load_i64, load_u8, store_i64, store_u8
from devices.kernels.source.rows import (
    HALF,
    average,
    copy,
    double,
    f32,
    fill_floats,
    finished,
    kernel,
    level,
    normalise,
    normalise_pixels,
    swap,
    unweave,
    weave,
    weave_alpha,
)  # fmt: skip
from devices.kernels.source.scaling import fetch_scaled, first_sample
from devices.kernels.source.turning import fetch_affine, inside

GEOMETRY, WHOLE, SCALED, AFFINE = at.GEOMETRY, at.WHOLE, at.SCALED, at.AFFINE
FLOAT_PLANES, FLOAT_PIXELS, BYTE_PLANES, BYTE_PIXELS, BYTE_PIXELS_ALPHA = (
    at.FLOAT_PLANES, at.FLOAT_PIXELS, at.BYTE_PLANES, at.BYTE_PIXELS, at.BYTE_PIXELS_ALPHA,
)  # fmt: skip


@kernel
def fetch_whole(program, planes, y, c):
    """Component `c` of source row `y` as bytes at output columns; gives where they lie."""
    component = program + 8 * (at.COMPONENT + c * at.COMPONENT_WORDS)
    step = load_i64(component, at.STEP)
    width = load_i64(program, at.WIDTH)
    source = first_sample(program, planes, c, y)
    target = load_i64(program, at.BYTES + c)
    if load_i64(component, at.COLUMN_SHIFT):
        double(target, source, step, width)
    elif step == 1:
        return source
    else:
        copy(target, 1, source, step, width)
    return target


@kernel
def mix_fixed(program, planes, y, first, end):
    """Levels of every output channel, in fixed point, out of a whole row or the fetched (whole-numbered) floats."""
    count = end - first
    colour = load_i64(program, at.COMPONENTS) == 3
    step = np.int64(1)
    chroma_step = np.int64(1)
    shared = np.int64(0)
    a = load_i64(program, at.BYTES) + first
    b = load_i64(program, at.BYTES + 1) + first
    c = load_i64(program, at.BYTES + 2) + first
    if load_i64(program, GEOMETRY) == WHOLE:
        step = load_i64(program, at.COMPONENT + at.STEP)
        a = first_sample(program, planes, 0, y)
        if colour:
            chroma_step = load_i64(program, at.COMPONENT + at.COMPONENT_WORDS + at.STEP)
            shared = load_i64(program, at.COMPONENT + at.COMPONENT_WORDS + at.COLUMN_SHIFT)
            b = first_sample(program, planes, 1, y)
            c = first_sample(program, planes, 2, y)
    else:
        round_row(a, load_i64(program, at.ROWS) + 4 * first, count)
        if colour:
            round_row(b, load_i64(program, at.ROWS + 1) + 4 * first, count)
            round_row(c, load_i64(program, at.ROWS + 2) + 4 * first, count)
    code = load_i64(program, at.CODE)
    target = load_i64(program, at.LEVELS) + first
    if colour:
        target1 = load_i64(program, at.LEVELS + 1) + first
        target2 = load_i64(program, at.LEVELS + 2) + first
        colour_planes(target, target1, target2, a, step, b, c, chroma_step, shared, code, count)
    else:
        gray_levels(target, a, step, code, count)


@kernel
def mix(program, planes, y, first, end):
    """Levels of every output channel at columns first..end, out of the fetched components."""
    count = end - first
    components = load_i64(program, at.COMPONENTS)
    geometry = load_i64(program, GEOMETRY)
    bytes_ = geometry != AFFINE
    a = load_i64(program, at.BYTES) + first
    b = load_i64(program, at.BYTES + 1) + first
    c = load_i64(program, at.BYTES + 2) + first
    packed = load_i64(program, at.COMPONENT + at.STEP)
    if geometry == WHOLE:
        if components == 3 and packed >= 3:
            unweave(a, b, c, load_i64(planes, 0) + y * load_i64(program, at.ROW_BYTES), packed, count)
        else:
            a = fetch_whole(program, planes, y, 0)
            if components == 3:
                b = fetch_whole(program, planes, y, 1)
                c = fetch_whole(program, planes, y, 2)
    elif geometry == AFFINE:
        a = load_i64(program, at.ROWS) + 4 * first
        b = load_i64(program, at.ROWS + 1) + 4 * first
        c = load_i64(program, at.ROWS + 2) + 4 * first
    takes = load_i64(program, at.TAKE) + load_i64(program, at.TAKE + 1) + load_i64(program, at.TAKE + 2)
    if components == 3 and takes == -3:
        red = load_i64(program, at.LEVELS) + first
        green = load_i64(program, at.LEVELS + 1) + first
        blue = load_i64(program, at.LEVELS + 2) + first
        if bytes_:
            mix_three_bytes(red, green, blue, a, b, c, load_i64(program, at.COLOUR), count)
        else:
            mix_three_floats(red, green, blue, a, b, c, load_i64(program, at.COLOUR), count)
        return
    for channel in range(load_i64(program, at.CHANNELS)):
        target = load_i64(program, at.LEVELS + channel) + first
        take = load_i64(program, at.TAKE + channel)
        colour = load_i64(program, at.COLOUR) + 16 * channel
        if take >= 0:
            row = a if take == 0 else (b if take == 1 else c)
            if not bytes_:
                round_row(target, row, count)
            elif row != target:
                copy(target, 1, row, 1, count)
        elif components == 3:
            if bytes_:
                mix_bytes(target, a, b, c, colour, count)
            else:
                mix_floats(target, a, b, c, colour, count)
        elif bytes_:
            mix_one_byte(target, a, colour, count)
        else:
            mix_one_float(target, a, colour, count)


@kernel
def pad(program, outputs, y, first, end):
    """Pad values at columns first..end of output row y (levels only where bytes are stored)."""
    if end <= first:
        return
    width = load_i64(program, at.WIDTH)
    channels = load_i64(program, at.CHANNELS)
    store = load_i64(program, at.STORE)
    for channel in range(channels):
        finish = load_i64(program, at.FINISH) + 12 * channel
        byte = load_f32(finish, 2)
        value = finished(byte, load_f32(finish, 0), load_f32(finish, 1), load_i64(program, at.DIVIDES))
        if store == FLOAT_PLANES:
            plane = load_i64(outputs, 0) + 4 * (channel * load_i64(program, at.HEIGHT) + y) * width
            fill_floats(plane + 4 * first, 1, value, end - first)
        elif store == FLOAT_PIXELS:
            pixels = load_i64(outputs, 0) + 4 * (y * width + first) * channels
            fill_floats(pixels + 4 * channel, channels, value, end - first)
        else:
            row = load_i64(program, at.LEVELS + channel)
            for x in range(first, end):
                store_u8(row, x, level(byte + HALF))


@kernel
def store_yuv(program, outputs, y):
    """A row of levels into YUV planes; rows that share chroma are averaged when the second one comes."""
    width = load_i64(program, at.WIDTH)
    height = load_i64(program, at.HEIGHT)
    luma_step = load_i64(program, at.LUMA_STEP)
    step = load_i64(program, at.CHROMA_STEP)
    columns = load_i64(program, at.CHROMA_COLUMNS)
    rows = load_i64(program, at.CHROMA_ROWS)
    chroma_width = (width + columns) >> columns
    luma_bytes = chroma_width * 4 if luma_step == 2 else width
    copy(load_i64(outputs, 0) + y * luma_bytes, luma_step, load_i64(program, at.LEVELS), 1, width)
    if luma_step == 2 and width & 1:
        store_u8(load_i64(outputs, 0) + y * luma_bytes, 2 * width, load_u8(load_i64(program, at.LEVELS), width - 1))
    for c in range(2):
        levels = load_i64(program, at.LEVELS + 1 + c)
        held = load_i64(program, at.HELD + c)
        if rows and y & 1 == 0 and y + 1 < height:
            copy(held, 1, levels, 1, width)
            continue
        chroma_bytes = chroma_width * step
        target = load_i64(outputs, 1 + c) + (y >> rows) * chroma_bytes
        upper = held if rows and y & 1 else levels
        if columns:
            if step == 1:
                average(target, 1, upper, levels, width)
            elif step == 2:
                average(target, 2, upper, levels, width)
            else:
                average(target, step, upper, levels, width)
        else:
            copy(target, step, levels, 1, width)


@kernel
def store(program, outputs, y, first, end):
    """Levels to output: columns first..end where floats are stored, the whole row where bytes are."""
    width = load_i64(program, at.WIDTH)
    height = load_i64(program, at.HEIGHT)
    channels = load_i64(program, at.CHANNELS)
    mode = load_i64(program, at.STORE)
    output = load_i64(outputs, 0)
    finish = load_i64(program, at.FINISH)
    divides = load_i64(program, at.DIVIDES)
    red = load_i64(program, at.LEVELS)
    green = load_i64(program, at.LEVELS + 1)
    blue = load_i64(program, at.LEVELS + 2)
    if mode == FLOAT_PLANES or (mode == FLOAT_PIXELS and channels == 1):
        for c in range(channels):
            target = output + 4 * ((c * height + y) * width + first)
            mean = load_f32(finish, 3 * c)
            factor = load_f32(finish, 3 * c + 1)
            normalise(target, 1, load_i64(program, at.LEVELS + c) + first, mean, factor, divides, end - first)
    elif mode == FLOAT_PIXELS:
        normalise_pixels(output + 12 * (y * width + first), red + first, green + first, blue + first, finish, divides, end - first)
    elif mode == BYTE_PLANES or (mode == BYTE_PIXELS and channels == 1):
        for c in range(channels):
            copy(output + (c * height + y) * width, 1, load_i64(program, at.LEVELS + c), 1, width)
    elif mode == BYTE_PIXELS:
        weave(output + 3 * y * width, red, green, blue, width)
    elif mode == BYTE_PIXELS_ALPHA:
        weave_alpha(output + 4 * y * width, red, green, blue, width)
    else:
        store_yuv(program, outputs, y)


@kernel
def render(program, planes, outputs):
    """Runs `program` over the source planes (three addresses) into the outputs (three addresses)."""
    geometry = load_i64(program, GEOMETRY)
    width = load_i64(program, at.WIDTH)
    left = load_i64(program, at.LEFT)
    top = load_i64(program, at.TOP)
    right = load_i64(program, at.RIGHT)
    bottom = load_i64(program, at.BOTTOM)
    matrix = load_i64(program, at.MATRIX)
    straight = load_i64(program, at.STRAIGHT)
    if straight == 1:
        copy(load_i64(outputs, 0), 1, load_i64(planes, 0), 1, load_i64(program, at.HEIGHT) * load_i64(program, at.ROW_BYTES))
        return
    if straight == 2:
        swap(load_i64(outputs, 0), load_i64(planes, 0), load_i64(program, at.HEIGHT) * width)
        return
    store_i64(program, at.KEPT_ROW, -1)
    store_i64(program, at.KEPT_ROW + 1, -1)
    for y in range(load_i64(program, at.HEIGHT)):
        first = left
        end = right
        if y < top or y >= bottom:
            first = width
            end = width
        elif geometry == SCALED:
            fetch_scaled(program, planes, y - top, first, end - first)
        elif geometry == AFFINE:
            row = np.float64(y) + 0.5
            sx = f32(load_f64(matrix, 0) * 0.5 + load_f64(matrix, 1) * row + load_f64(matrix, 2) - 0.5)
            sy = f32(load_f64(matrix, 3) * 0.5 + load_f64(matrix, 4) * row + load_f64(matrix, 5) - 0.5)
            dx = f32(load_f64(matrix, 0))
            dy = f32(load_f64(matrix, 3))
            if load_i64(program, at.PAD_OUTSIDE):
                first = inside(program, sx, sy, dx, dy, False)
                end = max(first, inside(program, sx, sy, dx, dy, True))
            fetch_affine(program, planes, sx, sy, dx, dy, first, end)
        if end > first:
            if load_i64(program, at.FIXED) and geometry != SCALED:
                mix_fixed(program, planes, y, first, end)
            else:
                mix(program, planes, y, first, end)
        pad(program, outputs, y, 0, first)
        pad(program, outputs, y, end, width)
        store(program, outputs, y, first, end)
