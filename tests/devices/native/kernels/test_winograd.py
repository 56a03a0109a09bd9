from itertools import pairwise

import numpy as np
import pytest

from devices.native.kernels import channel_stride, pack, pack_winograd, sites


def convolved(x, w, pads, x_zero):
    """int64 sums of NHWC `x` and `w` [3, 3, channels, outputs]."""
    top, left, bottom, right = pads
    wide = np.pad(x.astype(np.int64), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=x_zero) - x_zero
    seen = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (1, 2))
    return np.einsum("nyxcab,abco->nyxo", seen, w)


def run(kit, padded, x, w, *, pads=(1, 1, 1, 1), x_zero=0, bias=None, scale=1e-3, weight_zero=0, tile_rows=24, splits=()):
    n, height, width, channels = x.shape
    outputs = w.shape[3]
    packed = pack_winograd.integers(kit.isa, w, x_zero=x_zero, bias=bias, scale=scale, weight_zero=weight_zero)
    stride = channel_stride(channels)
    window, size = sites.winograd((height, width), stride, pads=pads)
    rows, columns = size["pixels_y"], size["pixels_x"]
    tiles = n * -(-rows // 2) * -(-columns // 2)
    cuts = [0, *(cut for cut in splits if cut < tiles), tiles]
    out = kit.run(
        "winograd_u8", *pairwise(cuts), x=padded(x), w=packed.data, bias=packed.bias, scale=packed.scale,
        out=np.zeros((n, rows, columns, channel_stride(outputs)), np.uint8), pad=np.full(width * stride, x_zero, np.uint8),
        **window.words(), **size, **packed.numbers(kit.isa, tile_rows), stride_out=channel_stride(outputs), zero=100, low=1, high=250,
    )  # fmt: skip
    total = convolved(x, w.astype(np.int64) - weight_zero, pads, x_zero) + (0 if bias is None else bias)
    wanted = np.clip(np.rint(total.astype(np.float32) * np.float32(scale)) + 100, 1, 250).astype(np.uint8)
    np.testing.assert_array_equal(out[..., :outputs], wanted)
    return out


@pytest.mark.parametrize(
    ("n", "size", "channels", "outputs", "pads"),
    [
        (1, (8, 8), 16, 16, (1, 1, 1, 1)),
        (2, (7, 9), 20, 18, (1, 1, 1, 1)),
        (1, (5, 4), 3, 40, (0, 0, 0, 0)),
        (1, (3, 3), 33, 1, (0, 1, 0, 0)),
        (1, (1, 1), 16, 16, (1, 1, 1, 1)),
        (3, (6, 13), 32, 32, (2, 1, 1, 0)),
    ],
)
def test_equals_the_direct_sum(kit, rng, padded, n, size, channels, outputs, pads):
    x = rng.integers(0, 256, (n, *size, channels), np.uint8)
    w = rng.integers(-128, 128, (3, 3, channels, outputs)).astype(np.int8)
    bias = rng.integers(-9000, 9000, outputs).astype(np.int32)
    run(kit, padded, x, w, pads=pads, x_zero=37, bias=bias, scale=float(np.float32(1 / (300 * channels**0.5))))


def test_the_largest_numbers(kit, padded):
    """Transformed values at their bounds, sums that wrap on the way."""
    x = np.zeros((1, 6, 6, 64), np.uint8)
    x[:, ::2] = 255
    x[:, :, 1::3] = 255
    w = np.full((3, 3, 64, 16), 127, np.int8)
    w[..., 1::2] = -128
    w[1, :, :, 3] = 127
    run(kit, padded, x, w, scale=6e-5)


def test_weights_with_a_zero_point(kit, rng, padded):
    x = rng.integers(0, 256, (1, 5, 5, 16), np.uint8)
    run(kit, padded, x, rng.integers(0, 256, (3, 3, 16, 16)).astype(np.uint8), weight_zero=141, x_zero=3, scale=4e-4)


def test_any_split_and_block_gives_the_same(kit, rng, padded):
    x = rng.integers(0, 256, (2, 9, 7, 16), np.uint8)
    w = rng.integers(-128, 128, (3, 3, 16, 32)).astype(np.int8)
    whole = run(kit, padded, x, w, tile_rows=48)
    np.testing.assert_array_equal(whole, run(kit, padded, x, w, tile_rows=1, splits=(1, 13, 20)))


def test_sums_that_could_wrap_are_refused(kits):
    with pytest.raises(pack.PackError, match="direct convolution"):
        pack_winograd.integers(kits("portable").isa, np.full((3, 3, 2048, 16), 127, np.int8), scale=1e-6)


@pytest.mark.parametrize(
    ("n", "size", "channels", "outputs", "pads"),
    [
        (1, (8, 8), 16, 16, (1, 1, 1, 1)),
        (2, (7, 9), 21, 18, (1, 1, 1, 1)),
        (1, (5, 4), 3, 40, (0, 0, 0, 0)),
        (1, (1, 1), 33, 1, (1, 1, 1, 1)),
    ],
)
def test_floats_are_near_the_direct_sum(kit, rng, padded, n, size, channels, outputs, pads):
    x = rng.normal(0, 1, (n, *size, channels)).astype(np.float32)
    w, bias = rng.normal(0, 1, (3, 3, channels, outputs)).astype(np.float32), rng.normal(0, 1, outputs).astype(np.float32)
    packed, stride = pack_winograd.floats(w, bias=bias), channel_stride(channels)
    window, words = sites.winograd(size, 4 * stride, pads=pads)
    rows, columns = words["pixels_y"], words["pixels_x"]
    tiles = n * -(-rows // 2) * -(-columns // 2)
    results = [
        kit.run(
            "winograd_f32", *calls, x=padded(x, 0), w=packed.data, bias=packed.bias,
            out=np.zeros((n, rows, columns, channel_stride(outputs)), np.float32), pad=np.zeros(size[1] * stride, np.float32),
            **window.words(), **words, **packed.numbers(kit.isa, 12), stride_out=4 * channel_stride(outputs), low=-9.0, high=11.0,
        )[..., :outputs]
        for calls in ([(0, tiles)], [(tiles // 2, tiles), (0, tiles // 2)])
    ]  # fmt: skip
    np.testing.assert_array_equal(*results)
    wide = np.pad(x.astype(np.float64), ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    wanted = np.einsum("nyxcab,abco->nyxo", np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (1, 2)), w) + bias
    np.testing.assert_allclose(results[0], np.clip(wanted, -9, 11), rtol=1e-4, atol=2e-5 * channels**0.5)
