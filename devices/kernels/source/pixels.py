# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Source planes to model input (or picture) in one pass: sample, convert colour, normalise, lay out.

`render` goes row by row. A row of each source component is brought to output columns (float32 where it was interpolated, bytes where it
was only copied), turned into uint8 levels of each output channel, and stored. Levels are rounded before they are normalised, so that a
tensor made directly equals one made from a picture made first.
"""

from __future__ import annotations

import numpy as np

from devices.kernels import program as at
from devices.kernels.source.memory import load_f32, load_f64, load_i32, load_i64, load_u8, store_u8
from devices.kernels.source.rows import (
    HALF,
    average,
    blend,
    collect,
    copy,
    double,
    f32,
    fill_floats,
    gather,
    gather_pixels,
    kernel,
    lerp_rows,
    level,
    locate,
    mix_bytes,
    mix_floats,
    mix_one_byte,
    mix_one_float,
    mix_three_bytes,
    mix_three_floats,
    normalise,
    normalise_pixels,
    round_row,
    unweave,
    weave,
    weave_alpha,
)  # fmt: skip

GEOMETRY, WHOLE, SCALED = at.GEOMETRY, at.WHOLE, at.SCALED
FLOAT_PLANES, FLOAT_PIXELS, BYTE_PLANES, BYTE_PIXELS, BYTE_PIXELS_ALPHA = (
    at.FLOAT_PLANES, at.FLOAT_PIXELS, at.BYTE_PLANES, at.BYTE_PIXELS, at.BYTE_PIXELS_ALPHA,
)  # fmt: skip


@kernel
def fetch_whole(program, planes, y, c):
    """Component `c` of source row `y` as bytes at output columns; gives where they lie."""
    component = program + 8 * (at.COMPONENT + c * at.COMPONENT_WORDS)
    plane = load_i64(component, at.PLANE)
    step = load_i64(component, at.STEP)
    width = load_i64(program, at.WIDTH)
    row_bytes = load_i64(program, at.PLANES + plane * at.PLANE_WORDS + at.ROW_BYTES)
    source = load_i64(planes, plane) + (y >> load_i64(component, at.ROW_SHIFT)) * row_bytes + load_i64(component, at.OFFSET)
    target = load_i64(program, at.BYTES + c)
    if load_i64(component, at.COLUMN_SHIFT):
        double(target, source, step, width)
    elif step == 1:
        return source
    else:
        copy(target, 1, source, step, width)
    return target


@kernel
def fetch_scaled(program, planes, y, first_column, count):
    """All components of table row `y` as float32 at output columns from `first_column` on."""
    components = load_i64(program, at.COMPONENTS)
    for plane in range(3):
        words = program + 8 * (at.PLANES + plane * at.PLANE_WORDS)
        row_bytes = load_i64(words, at.ROW_BYTES)
        if row_bytes > 0:
            grid = load_i64(words, at.PLANE_GRID)
            first = load_i64(words, at.FIRST)
            base = load_i64(planes, plane) + first
            upper = base + row_bytes * np.int64(load_i32(load_i64(program, at.Y_UPPER + grid), y))
            lower = base + row_bytes * np.int64(load_i32(load_i64(program, at.Y_LOWER + grid), y))
            weight = load_f32(load_i64(program, at.Y_WEIGHT + grid), y)
            lerp_rows(load_i64(words, at.LERPED), upper, lower, weight, load_i64(words, at.END) - first)
    step = load_i64(program, at.COMPONENT + at.STEP)
    skip = 4 * first_column
    if components == 3 and step >= 3:
        row = load_i64(program, at.PLANES + at.LERPED)
        gather_pixels(
            load_i64(program, at.ROWS) + skip, load_i64(program, at.ROWS + 1) + skip, load_i64(program, at.ROWS + 2) + skip,
            row, step, load_i64(program, at.X_INDEX), load_i64(program, at.X_WEIGHT), count,
        )  # fmt: skip
        return
    for c in range(components):
        component = program + 8 * (at.COMPONENT + c * at.COMPONENT_WORDS)
        plane = load_i64(component, at.PLANE)
        grid = load_i64(component, at.GRID)
        row = load_i64(program, at.PLANES + plane * at.PLANE_WORDS + at.LERPED) + 4 * load_i64(component, at.OFFSET)
        gather(
            load_i64(program, at.ROWS + c) + skip, row, load_i64(component, at.STEP),
            load_i64(program, at.X_INDEX + grid), load_i64(program, at.X_WEIGHT + grid), count,
        )  # fmt: skip


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
        row_bytes = load_i64(program, at.PLANES + plane * at.PLANE_WORDS + at.ROW_BYTES)
        # The second chroma component lies where the first one does, and packed components lie side by side.
        if c == 0 or (c == 1 and load_i64(component, at.GRID)):
            locate(sites, weights_x, weights_y, component, row_bytes, width, height, x, y, dx, dy, first, end)
        # A plane of one column or row has no neighbours: its only one stands for them.
        step = load_i64(component, at.STEP) if (width - 1) >> load_i64(component, at.COLUMN_SHIFT) else 0
        stride = row_bytes if (height - 1) >> load_i64(component, at.ROW_SHIFT) else 0
        collect(corners, lower_corners, load_i64(planes, plane) + load_i64(component, at.OFFSET), sites, step, stride, first, end)
        blend(load_i64(program, at.ROWS + c), corners, lower_corners, weights_x, weights_y, first, end)


@kernel
def mix(program, planes, y, first, end):
    """Levels of every output channel at columns first..end, out of the fetched components."""
    count = end - first
    components = load_i64(program, at.COMPONENTS)
    whole = load_i64(program, GEOMETRY) == WHOLE
    a = np.int64(0)
    b = np.int64(0)
    c = np.int64(0)
    packed = load_i64(program, at.COMPONENT + at.STEP)
    if whole and components == 3 and packed >= 3:
        a = load_i64(program, at.BYTES)
        b = load_i64(program, at.BYTES + 1)
        c = load_i64(program, at.BYTES + 2)
        unweave(a, b, c, load_i64(planes, 0) + y * load_i64(program, at.PLANES + at.ROW_BYTES), packed, count)
    elif whole:
        a = fetch_whole(program, planes, y, 0)
        if components == 3:
            b = fetch_whole(program, planes, y, 1)
            c = fetch_whole(program, planes, y, 2)
    else:
        a = load_i64(program, at.ROWS) + 4 * first
        b = load_i64(program, at.ROWS + 1) + 4 * first
        c = load_i64(program, at.ROWS + 2) + 4 * first
    takes = load_i64(program, at.TAKE) + load_i64(program, at.TAKE + 1) + load_i64(program, at.TAKE + 2)
    if components == 3 and takes == -3:
        red = load_i64(program, at.LEVELS) + first
        green = load_i64(program, at.LEVELS + 1) + first
        blue = load_i64(program, at.LEVELS + 2) + first
        if whole:
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
            if not whole:
                round_row(target, row, count)
            elif row != target:
                copy(target, 1, row, 1, count)
        elif components == 3:
            if whole:
                mix_bytes(target, a, b, c, colour, count)
            else:
                mix_floats(target, a, b, c, colour, count)
        elif whole:
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
        value = byte * load_f32(finish, 0) + load_f32(finish, 1)
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
    red = load_i64(program, at.LEVELS)
    green = load_i64(program, at.LEVELS + 1)
    blue = load_i64(program, at.LEVELS + 2)
    if mode == FLOAT_PLANES or (mode == FLOAT_PIXELS and channels == 1):
        for c in range(channels):
            target = output + 4 * ((c * height + y) * width + first)
            scale = load_f32(finish, 3 * c)
            offset = load_f32(finish, 3 * c + 1)
            normalise(target, 1, load_i64(program, at.LEVELS + c) + first, scale, offset, end - first)
    elif mode == FLOAT_PIXELS:
        normalise_pixels(output + 12 * (y * width + first), red + first, green + first, blue + first, finish, end - first)
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
    for y in range(load_i64(program, at.HEIGHT)):
        first = left
        end = right
        if y < top or y >= bottom:
            first = width
            end = width
        elif geometry == SCALED:
            fetch_scaled(program, planes, y - top, first, end - first)
        elif geometry == at.AFFINE:
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
            mix(program, planes, y, first, end)
        pad(program, outputs, y, 0, first)
        pad(program, outputs, y, end, width)
        store(program, outputs, y, first, end)
