from itertools import cycle, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.native.kernels import channel_stride, pack, sites, tiles
from devices.native.kernels.catalogue import BYTES, FLOATS, INTS

SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def requantized(total, scale, zero, low=0, high=255):
    return np.clip(np.rint(total.astype(np.float32) * scale) + zero, low, high).astype(np.uint8)


def multiplied(
    kit, rng, padded, rows, depth, columns, *,
    tile=None, kind=BYTES, weight_zero=0, pair_safe=False, unsigned=False, calls=None, panels=0, bounds=(12, 3, 251),
):  # fmt: skip
    """Runs one product and asserts that it equals NumPy's in int64."""
    height, width = tile or tiles.choose(kit.isa, rows, columns, "pair-safe" if pair_safe else "bytes")
    a = rng.integers(0, 256, (rows, depth), np.uint8)
    limit = 64 if pair_safe else 128
    b = (
        rng.integers(0, 256, (1, depth, columns)).astype(np.uint8)
        if unsigned
        else rng.integers(-limit, limit, (1, depth, columns)).astype(np.int8)
    )
    bias = rng.integers(-5000, 5000, columns).astype(np.int32)
    scale = rng.uniform(0.5, 2, columns).astype(np.float32) * np.float32(1 / (40 * max(depth, 1) ** 0.5 * 100))
    zeros = np.asarray(weight_zero)
    packed = pack.weights(kit.isa, b, width=width, x_zero=9, bias=bias, scale=scale, weight_zero=zeros, pair_safe=pair_safe)
    stride = channel_stride(columns)
    dtype = {BYTES: np.uint8, INTS: np.int32, FLOATS: np.float32}[kind]
    x = padded(a)
    out = kit.run(
        f"gemm_u8_{width}" + ("_pairsafe" if pair_safe else ""), *(calls or [(0, rows)]),
        a=x, b=packed.data, out=np.zeros((rows, stride), dtype), bias=packed.bias, scale=packed.scale, weight_zero=packed.weight_zero,
        **packed.numbers(kit.isa, height), stride_a=x.shape[1], stride_out=stride * dtype().nbytes, kind=kind, zero=bounds[0],
        low=bounds[1], high=bounds[2],
        panels=panels,
    )[:, :columns]  # fmt: skip
    total = (a.astype(np.int64) - 9) @ (b[0].astype(np.int64) - zeros) + bias
    if kind == INTS:
        np.testing.assert_array_equal(out, total)
    elif kind == FLOATS:
        np.testing.assert_array_equal(out, total.astype(np.float32) * scale)
    else:
        np.testing.assert_array_equal(out, requantized(total, scale, *bounds))
    return out


def test_each_tile_and_its_neighbours(product_kit, rng, padded):
    """Rows, depth and columns of 1, one less than a tile, a tile, and one more."""
    for width, heights in tiles.heights(product_kit.isa).items():
        for height in heights:
            sizes = product(sorted({1, height - 1, height, height + 1} - {0}), sorted({1, width - 1, width, width + 1}))
            for (rows, columns), depth in zip(sizes, cycle((1, 3, 4, 5, 7)), strict=False):
                if -(-columns // width) * width <= channel_stride(columns):
                    multiplied(product_kit, rng, padded, rows, depth, columns, tile=(height, width))


@pytest.mark.parametrize("kind", [BYTES, INTS, FLOATS])
def test_outputs_of_each_kind(product_kit, rng, padded, kind):
    multiplied(product_kit, rng, padded, 13, 37, 50, kind=kind)


@pytest.mark.parametrize("bounds", [(0, 0, 255), (0, 0, 200), (0, 9, 255), (128, 0, 255), (255, 0, 255)])
def test_bounds_of_outputs(product_kit, rng, padded, bounds):
    multiplied(product_kit, rng, padded, 13, 37, 50, bounds=bounds)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 15, 16, 17, 64, 257])
def test_depths(product_kit, rng, padded, depth):
    multiplied(product_kit, rng, padded, 7, depth, 24)


@pytest.mark.parametrize("weight_zero", [0, 128, 3, 255])
def test_unsigned_weights_with_a_zero_point(product_kit, rng, padded, weight_zero):
    multiplied(product_kit, rng, padded, 11, 21, 19, weight_zero=weight_zero, unsigned=True)


def test_a_zero_point_for_each_output(product_kit, rng, padded):
    multiplied(product_kit, rng, padded, 6, 30, 17, weight_zero=rng.integers(-100, 100, 17))


def test_any_split_of_rows_gives_the_same(product_kit, rng, padded):
    seed = rng.integers(1 << 30)
    whole = multiplied(product_kit, np.random.default_rng(seed), padded, 31, 20, 40)
    split = multiplied(product_kit, np.random.default_rng(seed), padded, 31, 20, 40, calls=[(17, 31), (0, 1), (1, 17), (5, 5)])
    np.testing.assert_array_equal(whole, split)


def test_one_pixel_in_any_split_of_its_outputs(product_kit, rng, padded):
    height, width = tiles.choose(product_kit.isa, 1, 70)
    count = -(-70 // width)
    for weight_zero in (0, 5):
        calls = [(count - 1, count), (0, 1), (1, count - 1), (count, count)]
        multiplied(product_kit, rng, padded, 1, 33, 70, tile=(height, width), calls=calls, panels=1, weight_zero=weight_zero)


@pytest.mark.parametrize("rows", [2, 7, 49])
def test_few_pixels_in_any_split_of_their_outputs(product_kit, rng, padded, rows):
    height, width = tiles.choose(product_kit.isa, rows, 70)
    count = -(-70 // width)
    for weight_zero in (0, 5):
        calls = [(count - 1, count), (0, 1), (1, count - 1), (count, count)]
        multiplied(product_kit, rng, padded, rows, 33, 70, tile=(height, width), calls=calls, panels=rows, weight_zero=weight_zero)


@SLOW
@given(st.integers(1, 40), st.integers(1, 90), st.integers(1, 70), st.integers(0, 1 << 30))
def test_any_size(product_kit, padded, rows, depth, columns, seed):
    multiplied(product_kit, np.random.default_rng(seed), padded, rows, depth, columns)


def test_the_largest_products_do_not_saturate(product_kit, padded):
    """255 * 127 in every pair, where `pmaddubsw` alone would be wrong."""
    width = min(tiles.heights(product_kit.isa))
    a, b = np.full((3, 64), 255, np.uint8), np.full((1, 64, width), 127, np.int8)
    b[:, :, ::2] = -128
    packed = pack.weights(product_kit.isa, b, width=width, requantized=False)
    out = product_kit.run(
        f"gemm_u8_{width}", (0, 3), a=a, b=packed.data, out=np.zeros((3, channel_stride(width)), np.int32), bias=packed.bias,
        scale=packed.scale,
        **packed.numbers(product_kit.isa, 1), stride_a=64, stride_out=4 * channel_stride(width), kind=INTS,
    )  # fmt: skip
    np.testing.assert_array_equal(out[:, :width], a.astype(np.int64) @ b[0].astype(np.int64))


@pytest.mark.parametrize("columns", [8, 16, 24, 40])
def test_pair_safe_weights(kits, rng, padded, columns):
    multiplied(kits("avx2"), rng, padded, 13, 36, columns, pair_safe=True)


def test_pair_safe_packing_refuses_other_weights(kits):
    with pytest.raises(pack.PackError, match="exact kernel"):
        pack.weights(kits("avx2").isa, np.full((1, 4, 8), 127, np.int8), width=8, pair_safe=True)


def test_scales_that_leave_int32_are_refused(kits):
    isa = kits("portable").isa
    with pytest.raises(pack.PackError, match="output 1"):
        pack.weights(isa, np.full((1, 4, 2), 127, np.int8), width=8, scale=np.float32([1, 1e6]))
    with pytest.raises(pack.PackError, match="finite"):
        pack.weights(isa, np.full((1, 4, 2), 127, np.int8), width=8, scale=np.float32([1, np.nan]))


def convolved(x, w, strides, pads, dilations, x_zero):
    """int64 sums [n, height, width, outputs] of NHWC `x` and `w` [taps_y, taps_x, channels, outputs]."""
    n, height, width, channels = x.shape
    top, left, bottom, right = pads
    wide = np.full((n, height + top + bottom, width + left + right, channels), x_zero, np.int64)
    wide[:, top : top + height, left : left + width] = x
    taps_y, taps_x = w.shape[:2]
    rows = (wide.shape[1] - dilations[0] * (taps_y - 1) - 1) // strides[0] + 1
    columns = (wide.shape[2] - dilations[1] * (taps_x - 1) - 1) // strides[1] + 1
    total = np.zeros((n, rows, columns, w.shape[3]), np.int64)
    for ky in range(taps_y):
        for kx in range(taps_x):
            y, z = ky * dilations[0], kx * dilations[1]
            part = wide[:, y : y + (rows - 1) * strides[0] + 1 : strides[0], z : z + (columns - 1) * strides[1] + 1 : strides[1]]
            total += (part - x_zero) @ w[ky, kx].astype(np.int64)
    return total


CONVOLUTIONS = [
    ((9, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    ((9, 8), (3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    ((7, 11), (1, 7), (1, 2), (0, 3, 0, 3), (1, 1)),
    ((10, 10), (3, 2), (1, 1), (2, 1, 2, 2), (2, 3)),
    ((6, 6), (5, 5), (3, 1), (2, 2, 2, 2), (1, 1)),
    ((4, 5), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((5, 31), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((4, 40), (3, 2), (1, 1), (1, 1, 1, 1), (1, 1)),
    ((7, 33), (3, 3), (2, 2), (2, 2, 2, 2), (2, 2)),
]


@pytest.mark.parametrize(("size", "taps", "strides", "pads", "dilations"), CONVOLUTIONS)
@pytest.mark.parametrize(("channels", "weight_zero"), [(20, 0), (20, 5), (32, 0), (17, 0)])
def test_convolution(product_kit, rng, padded, size, taps, strides, pads, dilations, channels, weight_zero):
    x = rng.integers(0, 256, (2, *size, channels), np.uint8)
    w = rng.integers(-128, 128, (*taps, channels, 18)).astype(np.int8)
    total = convolved(x, w.astype(np.int64) - weight_zero, strides, pads, dilations, 33)
    height, width = tiles.choose(product_kit.isa, total[..., 0].size, 18)
    scale = np.float32(60 / np.abs(total).max())
    packed = pack.weights(product_kit.isa, w.reshape(-1, channels, 18), width=width, x_zero=33, scale=scale, weight_zero=weight_zero)
    window = sites.windows(size, 32, taps, strides=strides, pads=pads, dilations=dilations)
    rows = total[..., 0].size
    out = product_kit.run(
        f"gemm_u8_{width}", (3, rows), (0, 3), a=padded(x), b=packed.data, out=np.zeros((rows, 32), np.uint8),
        bias=packed.bias, scale=packed.scale,
        weight_zero=packed.weight_zero, pad=np.full(size[1] * 32, 33, np.uint8), **window.words(),
        **packed.numbers(product_kit.isa, height),
        stride_out=32, kind=BYTES, zero=100, low=0, high=255,
    )  # fmt: skip
    np.testing.assert_array_equal(out[:, :18].reshape(total.shape), requantized(total, scale, 100))


@pytest.mark.parametrize("across", [10, 50])
def test_convolution_of_a_picture(product_kit, rng, across):
    """Three channels in pixels of four bytes."""
    x, count = rng.integers(0, 256, (1, 12, across, 4), np.uint8), 3 * across
    w = rng.integers(-128, 128, (3, 3, 3, 16)).astype(np.int8)
    total = convolved(x[..., :3], w, (2, 2), (1, 1, 1, 1), (1, 1), 128)
    height, width = tiles.choose(product_kit.isa, count, 16)
    packed = pack.weights(product_kit.isa, w.reshape(9, 3, 16), width=width, x_zero=128, scale=1e-3)
    window = sites.windows((12, across), 4, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    out = product_kit.run(
        f"gemm_u8_{width}", (0, count), a=x, b=packed.data, out=np.zeros((count, 16), np.uint8), bias=packed.bias, scale=packed.scale,
        pad=np.full(4 * across, 128, np.uint8), **window.words(),
        **packed.numbers(product_kit.isa, height), stride_out=16, kind=BYTES, zero=7, low=0, high=255,
    )  # fmt: skip
    np.testing.assert_array_equal(out.reshape(total.shape), requantized(total, np.float32(1e-3), 7))


@pytest.mark.parametrize(
    ("taps", "strides", "pads", "dilations", "extra"),
    [
        ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), (0, 0)),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), (1, 1)),
        ((4, 3), (2, 1), (1, 0, 1, 2), (1, 2), (0, 0)),
    ],
)
def test_transposed_convolution(product_kit, rng, padded, taps, strides, pads, dilations, extra):
    x = rng.integers(0, 256, (2, 4, 5, 16), np.uint8)
    w = rng.integers(-128, 128, (*taps, 16, 18)).astype(np.int8)
    window = sites.transposed((4, 5), 16, taps, strides=strides, pads=pads, dilations=dilations, output_padding=extra)
    rows, columns = len(window.rows), len(window.columns)
    wide = np.zeros((2, rows + pads[0] + pads[2] + 8, columns + pads[1] + pads[3] + 8, 18), np.int64)
    for y, z, ky, kx in np.ndindex(4, 5, *taps):
        wide[:, y * strides[0] + ky * dilations[0], z * strides[1] + kx * dilations[1]] += (x[:, y, z].astype(np.int64) - 33) @ w[ky, kx]
    total = wide[:, pads[0] : pads[0] + rows, pads[1] : pads[1] + columns]
    height, width = tiles.choose(product_kit.isa, total[..., 0].size, 18)
    packed = pack.weights(product_kit.isa, w.reshape(-1, 16, 18), width=width, x_zero=33, scale=1e-3)
    out = product_kit.run(
        f"gemm_u8_{width}", (0, 2 * rows * columns), a=padded(x), b=packed.data, out=np.zeros((2, rows, columns, 32), np.uint8),
        bias=packed.bias, scale=packed.scale, pad=np.full(5 * 16, 33, np.uint8), **window.words(),
        **packed.numbers(product_kit.isa, height), stride_out=32, kind=BYTES, zero=100, low=0, high=255,
    )  # fmt: skip
    np.testing.assert_array_equal(out[..., :18], requantized(total, np.float32(1e-3), 100))


def test_grouped_convolution_is_one_product_a_group(product_kit, rng, padded):
    """In ascending order: what a group writes past its outputs is overwritten by the next, or is padding."""
    x, w = rng.integers(0, 256, (30, 20), np.uint8), rng.integers(-128, 128, (2, 10, 9)).astype(np.int8)
    _, width = tiles.choose(product_kit.isa, 30, 9)
    given, result = padded(x), np.zeros((30, 32), np.uint8)
    for group in range(2):
        packed = pack.weights(product_kit.isa, w[group : group + 1], width=width, scale=1e-3)
        source, target = given.reshape(-1)[10 * group :].copy(), result.reshape(-1)[9 * group :]
        target[:] = product_kit.run(
            f"gemm_u8_{width}", (0, 30), a=source, b=packed.data, out=target.copy(), bias=packed.bias, scale=packed.scale,
            **packed.numbers(product_kit.isa, 1), stride_a=given.shape[1], stride_out=32, kind=BYTES, zero=100, low=0, high=255,
        )  # fmt: skip
    total = np.concatenate([x[:, 10 * g : 10 * g + 10].astype(np.int64) @ w[g] for g in range(2)], 1)
    np.testing.assert_array_equal(result[:, :18], requantized(total, np.float32(1e-3), 100))
