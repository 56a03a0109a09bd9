import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SLOW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def resized(kit, rng, size, taps, wanted, channels, name):
    """Random samples and weights along both axes, against the sum in float64."""
    x = rng.normal(0, 1, (2, *size, channels)).astype(np.float32)
    places = [rng.integers(0, limit, (count, tap)) for limit, count, tap in zip(size, wanted, taps, strict=True)]
    weights = [rng.normal(0, 1, place.shape).astype(np.float32) for place in places]
    pixel = 4 * channels
    out = kit.run(
        name, (1, 2 * wanted[0]), (0, 1), x=x, out=np.zeros((2, *wanted, channels), np.float32), channels=channels, stride_out=pixel,
        weights_y=weights[0], weights_x=weights[1], rows=(places[0] * pixel * size[1]).astype(np.int32),
        columns=(places[1] * pixel).astype(np.int32), taps_y=taps[0], taps_x=taps[1], height_out=wanted[0], width_out=wanted[1],
        image_bytes=pixel * size[0] * size[1], tap_bytes=pixel, row_bytes=pixel * size[1],
    )  # fmt: skip
    wide = np.einsum("nyaxbc,ya,xb->nyxc", x[:, places[0]][:, :, :, places[1]].astype(np.float64), *weights)
    np.testing.assert_allclose(out, wide, rtol=1e-4, atol=1e-5)


@SLOW
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12), st.sampled_from([16, 48]), st.integers(0, 1 << 30))
def test_linear(kit, height, width, rows, columns, channels, seed):
    for name in ("resize_f32_2x2", "resize_f32_any"):
        resized(kit, np.random.default_rng(seed), (height, width), (2, 2), (rows, columns), channels, name)


@pytest.mark.parametrize("taps", [(1, 1), (1, 2), (4, 4), (3, 1)])
def test_any_taps(kit, rng, taps):
    resized(kit, rng, (5, 7), taps, (6, 4), 32, "resize_f32_any")
