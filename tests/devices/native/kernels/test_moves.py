import numpy as np
import pytest

from devices.native.kernels import sites


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_copy_between_strides(kit, rng, count):
    x = rng.integers(0, 256, (5, 48), np.uint8)
    out = kit.run("copy", (0, 2), (2, 5), x=x, out=np.full((5, 64), 3, np.uint8), bytes=count, stride_x=48, stride_out=64)
    np.testing.assert_array_equal(out[:, :count], x[:, :count])
    np.testing.assert_array_equal(out[:, count:], 3)


def test_concatenation_of_channels(kit, rng):
    a, b = rng.integers(0, 256, (2, 6, 16), np.uint8)
    out = kit.run("copy", (0, 6), x=a, out=np.zeros((6, 32), np.uint8), bytes=16, stride_x=16, stride_out=32)
    flat = kit.run("copy", (0, 6), x=b, out=out.reshape(-1)[16:].copy(), bytes=16, stride_x=16, stride_out=32)
    np.testing.assert_array_equal(np.concatenate([out.reshape(-1)[:16], flat]).reshape(6, 32), np.concatenate([a, b], 1))


@pytest.mark.parametrize("size", [(10, 6), (5, 12), (3, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_nearest_resize(kit, rng, size, dtype):
    x = rng.integers(0, 256, (2, 5, 6, 16)).astype(dtype)
    y, z = np.arange(size[0]) * 5 // size[0], np.arange(size[1]) * 6 // size[1]
    pixel = 16 * x.itemsize
    window = sites.picked((5, 6), pixel, y, z)
    out = kit.run(
        "pick",
        (0, 3),
        (3, 2 * size[0]),
        x=x,
        out=np.zeros((2, *size, 16), dtype),
        pad=None,
        bytes=pixel,
        stride_out=pixel,
        **window.words(),
    )
    np.testing.assert_array_equal(out, x[:, y][:, :, z])


def test_padding(kit, rng):
    x = rng.integers(0, 256, (1, 3, 4, 16), np.uint8)
    window = sites.windows((3, 4), 16, (1, 1), pads=(1, 2, 0, 1))
    out = kit.run(
        "pick", (0, 4), x=x, out=np.zeros((1, 4, 7, 16), np.uint8), pad=np.full(64, 9, np.uint8), bytes=16, stride_out=16, **window.words()
    )
    np.testing.assert_array_equal(out, np.pad(x, ((0, 0), (1, 0), (2, 1), (0, 0)), constant_values=9))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 17])
def test_transposition(kit, rng, dtype, channels):
    x = rng.integers(0, 256, (2, channels, 5, 3)).astype(dtype)
    size, stride = x.itemsize, 32
    out = kit.run(
        f"nchw_to_nhwc_{size}",
        (0, 16),
        (16, 30),
        x=x,
        out=np.full((2, 5, 3, stride), 9, dtype),
        channels=channels,
        pixels=15,
        stride=stride * size,
    )
    np.testing.assert_array_equal(out[..., :channels], x.transpose(0, 2, 3, 1))
    assert (out[..., channels:] == 9).all()
    back = kit.run(f"nhwc_to_nchw_{size}", (0, 7), (7, 30), x=out, out=np.zeros_like(x), channels=channels, pixels=15, stride=stride * size)
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("pixels", [1, 7, 33])
def test_quantized_picture(kit, rng, channels, pixels):
    x = rng.normal(0, 3, (2, channels, pixels)).astype(np.float32)
    out = kit.run(
        "quantize_picture", (1, 2), (0, 1), x=x, out=np.zeros((2, pixels, 4), np.uint8), channels=channels, pixels=pixels,
        scale=0.02, zero=114, low=0, high=255,
    )  # fmt: skip
    wanted = np.clip(np.rint(x / np.float32(0.02)) + 114, 0, 255)
    np.testing.assert_array_equal(out[..., :channels], wanted.transpose(0, 2, 1))


def test_a_slice_backwards_and_beyond(kit, rng):
    x = rng.integers(0, 256, (1, 3, 4, 16), np.uint8)
    window = sites.picked((3, 4), 16, np.array([2, 0]), np.array([3, 1, -1]))
    out = kit.run(
        "pick", (0, 2), x=x, out=np.zeros((1, 2, 3, 16), np.uint8), pad=np.full(64, 9, np.uint8), bytes=16, stride_out=16, **window.words()
    )
    np.testing.assert_array_equal(out[:, :, :2], x[:, ::-2, ::-2])
    assert (out[:, :, 2] == 9).all()
    with pytest.raises(ValueError, match="row below 3, got 3"):
        sites.picked((3, 4), 16, np.array([3]), np.array([0]))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("pixels", [1, 7, 33])
def test_float_picture(kit, rng, channels, pixels):
    x = rng.normal(0, 3, (2, channels, pixels)).astype(np.float32)
    out = kit.run("picture_f32", (1, 2), (0, 1), x=x, out=np.ones((2, pixels, 4), np.float32), channels=channels, pixels=pixels)
    np.testing.assert_array_equal(out[..., :channels], x.transpose(0, 2, 1))
    assert (out[..., channels:] == 0).all()


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("steps", [(1, 1, 1, 1), (1, 1, 1, 2), (2, 1, 3, 2), (1, -1, 1, -2), (-1, 2, -1, 3)])
@pytest.mark.parametrize("columns", [1, 3, 8, 37])
def test_slices_with_steps(kit, rng, size, steps, columns):
    x = rng.integers(0, 256, (4, 5, 6, columns)).astype({1: np.uint8, 4: np.float32}[size])
    cut = x[tuple(slice(None, None, step) for step in steps)]
    wanted = np.ascontiguousarray(cut)
    start = sum((length - 1) * stride for length, step, stride in zip(x.shape, steps, x.strides, strict=True) if step < 0)
    words = {f"count_{axis}": count for axis, count in enumerate(wanted.shape) if axis}
    words |= {f"stride_x_{axis}": stride for axis, stride in enumerate(cut.strides)}
    words |= {f"stride_out_{axis}": stride for axis, stride in enumerate(wanted.strides)}
    out = kit.run(f"move_{size}", (1, len(wanted)), (0, 1), x=x, out=np.zeros_like(wanted), start=start, **words)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("size", [1, 4])
def test_any_order_and_repetition(kit, rng, size):
    x = rng.integers(0, 256, (3, 5, 1, 7)).astype({1: np.uint8, 4: np.float32}[size])
    seen = np.broadcast_to(x, (3, 5, 2, 7)).transpose(3, 2, 0, 1)
    wanted = np.ascontiguousarray(seen)
    words = {f"count_{axis}": count for axis, count in enumerate(wanted.shape) if axis}
    words |= {f"stride_x_{axis}": stride for axis, stride in enumerate(seen.strides)}
    words |= {f"stride_out_{axis}": stride for axis, stride in enumerate(wanted.strides)}
    out = kit.run(f"move_{size}", (0, 7), x=x, out=np.zeros_like(wanted), start=0, **words)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_widened_picture(kit, rng, size, channels):
    x = rng.integers(1, 256, (11, channels)).astype({1: np.uint8, 4: np.float32}[size])
    out = kit.run(f"widen_{size}", (4, 11), (0, 4), x=x, out=np.full((11, 4), 9, x.dtype), channels=channels)
    np.testing.assert_array_equal(out[:, :channels], x)
    assert (out[:, channels:] == 0).all()


@pytest.mark.parametrize("channels", [4, 5, 18])
@pytest.mark.parametrize("pixels", [15, 16, 33, 70])
def test_transposition_by_blocks(kit, rng, channels, pixels):
    """Sizes around the blocks, and rows that begin and end inside an image."""
    x = rng.normal(0, 1, (3, channels, pixels)).astype(np.float32)
    words = {"channels": channels, "pixels": pixels, "stride": 128}
    parts = [(0, 5), (5, pixels + 20), (pixels + 20, 3 * pixels)]
    out = kit.run("nchw_to_nhwc_4", *parts, x=x, out=np.full((3, pixels, 32), 9, np.float32), **words)
    np.testing.assert_array_equal(out[..., :channels], x.transpose(0, 2, 1))
    assert (out[..., channels:] == 9).all()
    np.testing.assert_array_equal(kit.run("nhwc_to_nchw_4", *parts, x=out, out=np.zeros_like(x), **words), x)
