# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Source planes to model input (or picture) in one pass: sample, convert colour, normalise, lay out.

`render` goes row by row. A row of each source component is brought to output columns (float32 where it was interpolated, bytes where it
was only copied), turned into uint8 levels of each output channel, and stored. Levels are rounded before they are normalised, so that a
tensor made directly equals one made from a picture made first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from devices.kernels import program as at
from devices.kernels.source.memory import load_f32, load_f64, load_i32, load_i64, load_u8, store_f32, store_i32, store_u8

f32 = np.float32
HALF = f32(0.5)
ZERO = f32(0.0)
ONE = f32(1.0)
TOP = f32(255.0)

GEOMETRY, WHOLE, SCALED = at.GEOMETRY, at.WHOLE, at.SCALED
FLOAT_PLANES, FLOAT_PIXELS, BYTE_PLANES, BYTE_PIXELS, BYTE_PIXELS_ALPHA = (
    at.FLOAT_PLANES, at.FLOAT_PIXELS, at.BYTE_PLANES, at.BYTE_PIXELS, at.BYTE_PIXELS_ALPHA,
)  # fmt: skip

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
    """A value that already has its half added, clipped and cut to a byte."""
    value = max(value, ZERO)
    value = min(value, TOP)
    return np.uint8(np.int32(value))


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
def weigh(weights_x, weights_y, width, height, x, y, dx, dy, first, end):
    """Weights of the right and of the lower sample at (x + i dx, y + i dy), sample centres at whole numbers."""
    right = f32(width)
    bottom = f32(height)
    for i in range(first, end):
        sx = min(max(x + f32(np.int32(i)) * dx, -ONE), right)
        sy = min(max(y + f32(np.int32(i)) * dy, -ONE), bottom)
        store_f32(weights_x, i, sx - np.floor(sx))
        store_f32(weights_y, i, sy - np.floor(sy))


@kernel
def locate(sites, across, down, component, row_bytes, width, height, x, y, dx, dy, first, end):
    """Byte offsets: of the upper left sample, from it to the right one, and to the lower one. Outside, the nearest pixel."""
    right = f32(width)
    bottom = f32(height)
    last_column = np.int32(width - 1)
    last_row = np.int32(height - 1)
    step = np.int32(load_i64(component, at.STEP))
    column_shift = np.int32(load_i64(component, at.COLUMN_SHIFT))
    row_shift = np.int32(load_i64(component, at.ROW_SHIFT))
    stride = np.int32(row_bytes)
    none = np.int32(0)
    one = np.int32(1)
    for i in range(first, end):
        sx = min(max(x + f32(np.int32(i)) * dx, -ONE), right)
        sy = min(max(y + f32(np.int32(i)) * dy, -ONE), bottom)
        column = np.int32(np.floor(sx))
        row = np.int32(np.floor(sy))
        x0 = np.int32(min(max(column, none), last_column) >> column_shift)
        x1 = np.int32(min(max(np.int32(column + one), none), last_column) >> column_shift)
        y0 = np.int32(min(max(row, none), last_row) >> row_shift)
        y1 = np.int32(min(max(np.int32(row + one), none), last_row) >> row_shift)
        store_i32(sites, i, np.int32(np.int32(y0 * stride) + np.int32(x0 * step)))
        store_i32(across, i, np.int32(np.int32(x1 - x0) * step))
        store_i32(down, i, np.int32(np.int32(y1 - y0) * stride))


@kernel
def sample(target, source, sites, across, down, weights_x, weights_y, first, end):
    """Bilinear float32 samples of one component."""
    for i in range(first, end):
        upper = source + np.int64(load_i32(sites, i))
        lower = upper + np.int64(load_i32(down, i))
        step = np.int64(load_i32(across, i))
        wx = load_f32(weights_x, i)
        a = f32(load_u8(upper, 0))
        a += (f32(load_u8(upper, step)) - a) * wx
        c = f32(load_u8(lower, 0))
        c += (f32(load_u8(lower, step)) - c) * wx
        store_f32(target, i, a + (c - a) * load_f32(weights_y, i))


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
    weights_x = load_i64(program, at.SITES)
    weights_y = weights_x + row
    sites = weights_y + row
    weigh(weights_x, weights_y, width, height, x, y, dx, dy, first, end)
    for c in range(load_i64(program, at.COMPONENTS)):
        component = program + 8 * (at.COMPONENT + c * at.COMPONENT_WORDS)
        plane = load_i64(component, at.PLANE)
        # The second chroma component lies where the first one does, and packed components lie side by side.
        if c == 0 or (c == 1 and load_i64(component, at.GRID)):
            row_bytes = load_i64(program, at.PLANES + plane * at.PLANE_WORDS + at.ROW_BYTES)
            locate(sites, sites + row, sites + 2 * row, component, row_bytes, width, height, x, y, dx, dy, first, end)
        source = load_i64(planes, plane) + load_i64(component, at.OFFSET)
        sample(load_i64(program, at.ROWS + c), source, sites, sites + row, sites + 2 * row, weights_x, weights_y, first, end)


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
def fill_floats(target, step, value, count):
    """The same value at every `step`."""
    if step == 1:
        for x in range(count):
            store_f32(target, x, value)
    else:
        for x in range(count):
            store_f32(target, x * step, value)


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
