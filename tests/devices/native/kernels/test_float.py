from itertools import cycle, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.native.kernels import channel_stride, pack, sites, tiles

SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def multiplied(kit, rng, padded, rows, depth, columns, *, tile=None, calls=None, low=-np.inf, high=np.inf, panels=0):
    height, width = tile or tiles.choose(kit.isa, rows, columns, "floats")
    a, b = rng.normal(0, 1, (rows, depth)).astype(np.float32), rng.normal(0, 1, (1, depth, columns)).astype(np.float32)
    bias = rng.normal(0, 1, columns).astype(np.float32)
    packed, stride = pack.float_weights(b, width=width, bias=bias), channel_stride(columns)
    x = padded(a, np.nan)  # padding is never used
    out = kit.run(
        f"gemm_f32_{width}", *(calls or [(0, rows)]), a=x, b=packed.data, out=np.zeros((rows, stride), np.float32), bias=packed.bias,
        **packed.numbers(height), stride_a=4 * x.shape[1], stride_out=4 * stride, low=low, high=high, panels=panels,
    )[:, :columns]  # fmt: skip
    np.testing.assert_allclose(out, np.clip(a.astype(np.float64) @ b[0] + bias, low, high), rtol=1e-4, atol=1e-5 * (depth + 1) ** 0.5)
    return out


def test_each_tile_and_its_neighbours(kit, rng, padded):
    """Rows, depth and columns of 1, one less than a tile, a tile, and one more, against float64."""
    for width, heights in tiles.heights(kit.isa, "floats").items():
        for height in heights:
            sizes = product(sorted({1, height - 1, height, height + 1} - {0}), sorted({1, width - 1, width, width + 1}))
            for (rows, columns), depth in zip(sizes, cycle((1, 3, 4, 5, 7)), strict=False):
                if -(-columns // width) * width <= channel_stride(columns):
                    multiplied(kit, rng, padded, rows, depth, columns, tile=(height, width))


@SLOW
@given(st.integers(1, 40), st.integers(1, 90), st.integers(1, 70), st.integers(0, 1 << 30))
def test_any_size(kit, padded, rows, depth, columns, seed):
    multiplied(kit, np.random.default_rng(seed), padded, rows, depth, columns, low=-2.0, high=6.0)


def test_any_split_of_rows_gives_the_same_bits(kit, padded):
    whole = multiplied(kit, np.random.default_rng(5), padded, 31, 50, 40)
    split = multiplied(kit, np.random.default_rng(5), padded, 31, 50, 40, calls=[(17, 31), (0, 1), (1, 17)])
    np.testing.assert_array_equal(whole, split)


@pytest.mark.parametrize("rows", [1, 2, 7, 49])
def test_few_pixels_in_any_split_of_their_outputs(kit, rng, padded, rows):
    height, width = tiles.choose(kit.isa, rows, 70, "floats")
    count = -(-70 // width)
    multiplied(kit, rng, padded, rows, 33, 70, tile=(height, width), calls=[(count - 1, count), (0, 1), (1, count - 1)], panels=rows)


@SLOW
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.integers(0, 1 << 30))
def test_product_with_a_matrix_as_it_lies(kit, padded, rows, depth, columns, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, (rows, depth)).astype(np.float32), rng.normal(0, 1, (depth, columns)).astype(np.float32)
    x, y, out = padded(a, np.nan), padded(b, np.nan), np.zeros((rows, channel_stride(columns)), np.float32)
    out = kit.run(
        "matmul_f32", (rows // 2, rows), (0, rows // 2), a=x, b=y, out=out, bias=np.zeros(channel_stride(columns), np.float32), depth=depth,
        outputs=columns, tile_rows=tiles.tallest(kit.isa, rows, 16), stride_a=4 * x.shape[1], stride_b=4 * y.shape[1],
        stride_out=4 * out.shape[1], low=-np.inf, high=np.inf, scratch_bytes=64,
    )  # fmt: skip
    np.testing.assert_allclose(out[:, :columns], a.astype(np.float64) @ b, rtol=1e-4, atol=1e-5 * (depth + 1) ** 0.5)


CASES = [
    ((3, 31), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 16),
    ((7, 30), (1, 3), (1, 2), (0, 1, 0, 1), (1, 2), 19),
    ((9, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 20),
    ((9, 9), (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 16),
    ((9, 10), (5, 5), (1, 2), (2, 2, 2, 2), (1, 1), 17),
    ((10, 11), (3, 2), (1, 1), (2, 1, 2, 1), (2, 1), 16),
]


def taps_of(x, strides, pads, dilations, taps):
    """[n, rows, columns, taps_y, taps_x, channels]: what each output pixel sees."""
    top, left, bottom, right = pads
    wide = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    reach = [dilation * (tap - 1) + 1 for dilation, tap in zip(dilations, taps, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(wide, reach, (1, 2))[
        :, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]
    ]
    return seen.transpose(0, 1, 2, 4, 5, 3)


@pytest.mark.parametrize(("size", "taps", "strides", "pads", "dilations", "channels"), CASES)
def test_convolution(kit, rng, padded, size, taps, strides, pads, dilations, channels):
    x = rng.normal(0, 1, (2, *size, channels)).astype(np.float32)
    w = rng.normal(0, 1, (*taps, channels, 18)).astype(np.float32)
    wanted = np.einsum("nyxabc,abco->nyxo", taps_of(x.astype(np.float64), strides, pads, dilations, taps), w)
    rows = wanted[..., 0].size
    height, width = tiles.choose(kit.isa, rows, 18, "floats")
    packed = pack.float_weights(w.reshape(-1, channels, 18), width=width)
    stride = channel_stride(channels)
    window = sites.windows(size, 4 * stride, taps, strides=strides, pads=pads, dilations=dilations)
    out = kit.run(
        f"gemm_f32_{width}", (3, rows), (0, 3), a=padded(x, np.nan), b=packed.data, out=np.zeros((rows, 32), np.float32), bias=packed.bias,
        pad=np.zeros(size[1] * stride, np.float32), **window.words(), **packed.numbers(height), stride_out=128, low=-np.inf, high=np.inf,
    )  # fmt: skip
    np.testing.assert_allclose(out[:, :18].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "taps", "strides", "pads", "dilations", "channels"), CASES)
@pytest.mark.parametrize("spelled_out", [True, False])
def test_depthwise(kit, rng, padded, size, taps, strides, pads, dilations, channels, spelled_out):
    name = f"depthwise_f32_{taps[0]}x{taps[1]}" if taps in ((3, 3), (5, 5)) and spelled_out else "depthwise_f32_any"
    x = rng.normal(0, 1, (2, *size, channels)).astype(np.float32)
    w, bias = rng.normal(0, 1, (*taps, channels)).astype(np.float32), rng.normal(0, 1, channels).astype(np.float32)
    wanted = np.einsum("nyxabc,abc->nyxc", taps_of(x.astype(np.float64), strides, pads, dilations, taps), w) + bias
    packed, stride = pack.float_depthwise(w, bias=bias), channel_stride(channels)
    window = sites.windows(size, 4 * stride, taps, strides=strides, pads=pads, dilations=dilations)
    n, rows, columns, _ = wanted.shape
    out = kit.run(
        name, (1, n * rows), (0, 1), x=padded(x, 0), w=packed.data, bias=packed.bias, out=np.zeros((n, rows, columns, stride), np.float32),
        pad=np.zeros(size[1] * stride, np.float32), channels=stride, **window.words(), stride_out=4 * stride, low=-3.0, high=5.0,
    )  # fmt: skip
    np.testing.assert_allclose(out[..., :channels], np.clip(wanted, -3, 5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [0, 4])
def test_convolution_of_a_picture(kit, rng, depth):
    x = rng.normal(0, 1, (1, 9, 8, 4)).astype(np.float32)
    x[..., 3] = 0
    w = rng.normal(0, 1, (3, 3, 3, 8)).astype(np.float32)
    wanted = np.einsum("nyxabc,abco->nyxo", taps_of(x[..., :3].astype(np.float64), (2, 2), (1, 1, 1, 1), (1, 1), (3, 3)), w)
    rows, (height, width) = wanted[..., 0].size, tiles.choose(kit.isa, 20, 8, "floats")
    packed = pack.float_weights(w.reshape(9, 3, 8), width=width, depth=depth)
    window = sites.windows((9, 8), 16, (3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    out = kit.run(
        f"gemm_f32_{width}", (0, rows), a=x, b=packed.data, out=np.zeros((rows, 16), np.float32), bias=packed.bias,
        pad=np.zeros(32, np.float32), **window.words(), **packed.numbers(height), stride_out=64, low=-np.inf, high=np.inf,
    )  # fmt: skip
    np.testing.assert_allclose(out[:, :8].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)
