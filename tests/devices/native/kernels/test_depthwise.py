import numpy as np
import pytest

from devices.native.kernels import channel_stride, pack, sites

CASES = [
    ((9, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 24),
    ((3, 13), (3, 3), (1, 1), (0, 2, 0, 0), (1, 1), 16),
    ((2, 8), (3, 3), (1, 1), (1, 0, 1, 2), (1, 1), 16),
    ((7, 7), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 16),
    ((1, 1), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    ((5, 2), (3, 3), (1, 1), (1, 0, 1, 1), (1, 1), 33),
    ((4, 3), (3, 3), (1, 1), (2, 2, 2, 2), (1, 1), 16),
    ((2, 1), (3, 3), (1, 1), (1, 2, 1, 2), (1, 1), 16),
    ((9, 9), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 32),
    ((8, 10), (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 17),
    ((8, 7), (3, 3), (1, 2), (1, 1, 1, 1), (1, 1), 16),
    ((11, 12), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 16),
    ((9, 9), (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 20),
    ((9, 8), (5, 5), (2, 2), (1, 1, 2, 2), (1, 1), 16),
    ((9, 8), (7, 1), (1, 1), (3, 0, 3, 0), (1, 1), 16),
    ((4, 3), (2, 2), (1, 1), (0, 0, 0, 0), (1, 1), 16),
]


def summed(x, w, strides, pads, dilations, fill):
    """Sums over the taps of NHWC `x` and `w` [taps_y, taps_x, channels], in the type of `w`."""
    n, height, width, channels = x.shape
    wide = np.full((n, height + pads[0] + pads[2], width + pads[1] + pads[3], channels), fill, w.dtype)
    wide[:, pads[0] : pads[0] + height, pads[1] : pads[1] + width] = x
    rows = (wide.shape[1] - dilations[0] * (w.shape[0] - 1) - 1) // strides[0] + 1
    columns = (wide.shape[2] - dilations[1] * (w.shape[1] - 1) - 1) // strides[1] + 1
    total = np.zeros((n, rows, columns, channels), w.dtype)
    for ky in range(w.shape[0]):
        for kx in range(w.shape[1]):
            y, z = ky * dilations[0], kx * dilations[1]
            part = wide[:, y : y + (rows - 1) * strides[0] + 1 : strides[0], z : z + (columns - 1) * strides[1] + 1 : strides[1]]
            total += (part - fill) * w[ky, kx]
    return total


@pytest.mark.parametrize(("size", "taps", "strides", "pads", "dilations", "channels"), CASES)
@pytest.mark.parametrize("spelled_out", [False, True])
def test_equals_the_sum_over_taps(kit, rng, padded, size, taps, strides, pads, dilations, channels, spelled_out):
    name = pack.depthwise_kernel(taps, strides, dilations)
    if spelled_out:  # the slower forms take any case, too
        name = "depthwise_u8_3x3" if "stride" in name else "depthwise_u8_any"
    x = rng.integers(0, 256, (2, *size, channels), np.uint8)
    w = rng.integers(-128, 128, (*taps, channels)).astype(np.int8)
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    scale = rng.uniform(1e-3, 4e-3, channels).astype(np.float32)
    total = summed(x, w.astype(np.int64), strides, pads, dilations, 77) + bias
    packed = pack.depthwise(kit.isa, w, name, x_zero=77, bias=bias, scale=scale)
    stride = channel_stride(channels)
    window = sites.windows(size, stride, taps, strides=strides, pads=pads, dilations=dilations)
    n, rows, columns, _ = total.shape
    for at_start, (zero, low, high) in ((False, (120, 2, 240)), (True, (0, 0, 255))):
        out = kit.run(
            name, (1, n * rows), (0, 1), at_start=at_start, x=padded(x), w=packed.data, bias=packed.bias, scale=packed.scale,
            out=np.zeros((n, rows, columns, stride), np.uint8),
            pad=np.full(size[1] * stride, 77, np.uint8), **packed.numbers(), **window.words(),
            stride_out=stride, zero=zero, low=low, high=high,
        )  # fmt: skip
        wanted = np.clip(np.rint(total.astype(np.float32) * scale) + zero, low, high).astype(np.uint8)
        np.testing.assert_array_equal(out[..., :channels], wanted)


@pytest.mark.parametrize("name", ["depthwise_u8_3x3_stride1", "depthwise_u8_3x3"])
@pytest.mark.parametrize("most", [127, 255])  # one byte a weight, and two
def test_weights_with_a_zero_point_and_the_largest_sums(kit, name, most):
    x, w = np.full((1, 4, 4, 16), 255, np.uint8), np.zeros((3, 3, 16), np.uint8)
    w[:, :, ::2] = most
    zeros = np.where(np.arange(16) % 4 < 2, most, 0)
    packed = pack.depthwise(kit.isa, w, name, weight_zero=zeros, scale=1e-4)
    assert packed.data.shape == (1, 9 * 16 * (1 if most == 127 else 2))
    total = summed(x, w.astype(np.int64) - zeros, (1, 1), (1, 1, 1, 1), (1, 1), 0)
    window = sites.windows((4, 4), 16, (3, 3), pads=(1, 1, 1, 1))
    out = kit.run(
        name, (0, 4), x=x, w=packed.data, bias=packed.bias, scale=packed.scale, out=np.zeros((1, 4, 4, 16), np.uint8),
        pad=np.zeros(64, np.uint8), **packed.numbers(), **window.words(), stride_out=16, zero=128, low=0, high=255,
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.clip(np.rint(total.astype(np.float32) * np.float32(1e-4)) + 128, 0, 255))
