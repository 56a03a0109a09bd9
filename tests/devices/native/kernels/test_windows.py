import numpy as np
import pytest

from devices.native.kernels import sites

CASES = [
    ((8, 9), (2, 2), (2, 2), (0, 0, 0, 0), False),
    ((9, 8), (3, 3), (2, 2), (1, 1, 1, 1), False),
    ((7, 7), (7, 7), (1, 1), (0, 0, 0, 0), False),
    ((5, 6), (3, 2), (1, 1), (1, 0, 1, 1), False),
    ((6, 7), (3, 3), (2, 2), (0, 0, 0, 0), True),
]


def taps(x, window, fill):
    """[n, rows, columns, taps, channels]: what each output pixel sees."""
    n, _, _, channels = x.shape
    (rows, taps_y), (columns, taps_x) = window.rows.shape, window.columns.shape
    flat = x.reshape(n, -1)
    result = np.full((n, rows, columns, taps_y * taps_x, channels), fill, x.dtype)
    for y in range(rows):
        for z in range(columns):
            for t, (ky, kx) in enumerate(np.ndindex(taps_y, taps_x)):
                row, column = window.rows[y, ky], window.columns[z, kx]
                if row >= 0 and column >= 0:
                    at = (row + column) // x.itemsize
                    result[:, y, z, t] = flat[:, at : at + channels]
    return result


@pytest.mark.parametrize(("size", "taps_", "strides", "pads", "ceil"), CASES)
@pytest.mark.parametrize("form", ["max_u8", "mean_u8", "max_f32", "mean_f32"])
def test_pooling(kit, rng, size, taps_, strides, pads, ceil, form):
    small = form.endswith("u8")
    x = rng.integers(0, 256, (2, *size, 32), np.uint8) if small else rng.normal(0, 3, (2, *size, 32)).astype(np.float32)
    window = sites.windows(size, 32 * x.itemsize, taps_, strides=strides, pads=pads, ceil=ceil)
    fill = {"max_u8": 0, "mean_u8": 9, "max_f32": -np.inf, "mean_f32": 0}[form]
    seen = taps(x, window, fill)
    n, rows, columns, count, _ = seen.shape
    more = {}
    if form == "mean_u8":
        inside = (taps(np.ones_like(x), window, 0)[0, ..., 0].sum(-1)).astype(np.float32)
        more = {"scale": np.float32(1.5) / inside, "bias": -9 * count, "zero": 20, "low": 0, "high": 255}
        total = (seen.astype(np.int64) - 9).sum(3).astype(np.float32) * more["scale"][..., None]
        wanted = np.clip(np.rint(total) + 20, 0, 255).astype(np.uint8)
    elif form == "mean_f32":
        more = {"scale": np.full((rows, columns), 1 / count, np.float32)}
        wanted = seen.mean(3)
    else:
        wanted = seen.max(3)
    out = kit.run(
        f"pool_{form}", (1, n * rows), (0, 1), x=x, out=np.zeros((n, rows, columns, 32), x.dtype), pad=np.full(size[1] * 32, fill, x.dtype),
        channels=32, stride_out=32 * x.itemsize, **window.words(), **more,
    )  # fmt: skip
    if form == "mean_f32":
        np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(out, wanted)


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="at most 4 pixels, got 5"):
        sites.windows((4, 9), 16, (5, 5))
