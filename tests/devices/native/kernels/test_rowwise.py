import numpy as np
import pytest

COLUMNS = [1, 3, 7, 8, 9, 16, 21, 1000]


def over_rows(kit, name, x, dtype=np.float32, **more):
    """The kernel over rows of any length without gaps; gives its output."""
    count = x.shape[1]
    out = np.zeros((len(x), 1) if dtype == np.int64 else x.shape, dtype)
    return kit.run(name, (0, 1), (1, len(x)), x=x, out=out, channels=count, stride_x=4 * count, stride_out=out.strides[0], **more)


@pytest.mark.parametrize("columns", COLUMNS)
def test_softmax(kit, rng, columns):
    x = rng.normal(0, 5, (3, columns)).astype(np.float32)
    x[1] = 500.0
    out = over_rows(kit, "softmax_f32", x)
    wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(out, wide / wide.sum(1, keepdims=True), rtol=3e-6, atol=1e-37)


@pytest.mark.parametrize("columns", COLUMNS)
def test_layer_norm(kit, rng, columns):
    x = rng.normal(3, 5, (3, columns)).astype(np.float32)
    scale, bias = rng.normal(0, 1, (2, columns)).astype(np.float32)
    out = over_rows(kit, "layer_norm_f32", x, scale=scale, bias=bias, epsilon=1e-5)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(1, keepdims=True) + np.float32(1e-5)) * scale + bias
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("columns", COLUMNS)
def test_place_of_the_largest(kit, rng, columns):
    x = rng.integers(-3, 3, (5, columns)).astype(np.float32)
    x[0] = -np.inf
    np.testing.assert_array_equal(over_rows(kit, "arg_max_f32", x, np.int64)[:, 0], x.argmax(1))
