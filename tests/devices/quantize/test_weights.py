from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.native.kernels.pack import is_pair_safe as kernel_takes
from devices.quantize.units import Layer
from devices.quantize.weights import BIAS_MOST, is_pair_safe, store_bias, store_weights, weight_noise_ratio

CONV = Layer("conv", 0, "x", "w", "b", 0)
DENSE = Layer("dense", 0, "x", "w", "b", 1)


def as_kernels_read(layer: Layer, stored: np.ndarray) -> np.ndarray:
    """[taps, channels padded to four, outputs]"""
    values = stored[None] if layer.axis else stored.transpose(2, 3, 1, 0).reshape(-1, stored.shape[1], stored.shape[0])
    return np.pad(values, ((0, 0), (0, -values.shape[1] % 4), (0, 0)))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 9), taps=st.sampled_from([1, 3]), heavy=st.booleans(), dense=st.booleans())
def test_pair_safe_weights_cannot_saturate(seed: int, channels: int, taps: int, heavy: bool, dense: bool) -> None:
    random = np.random.default_rng(seed)
    layer, shape = (DENSE, (channels * 4, 7)) if dense else (CONV, (7, channels, taps, taps))
    weight = (random.standard_t(2, shape) if heavy else random.uniform(0.9, 1, shape)).astype(np.float32)
    stored = store_weights(layer, weight, None, 1.0, pair_safe=True)
    assert is_pair_safe(layer, stored.weight)
    assert kernel_takes(as_kernels_read(layer, stored.weight))
    assert np.abs(stored.real - weight).max() <= 1.01 * stored.scales.max()


def test_plain_weights_use_the_whole_range_and_are_seldom_pair_safe() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (16, 32, 3, 3)).astype(np.float32)
    plain, safe = (store_weights(CONV, weight, None, 1.0, pair_safe=each) for each in (False, True))
    assert not is_pair_safe(CONV, plain.weight)
    assert weight_noise_ratio(weight, plain) > weight_noise_ratio(weight, safe) > weight_noise_ratio(weight, plain) - 6


def test_a_depthwise_layer_has_no_pairs() -> None:
    weight = np.random.default_rng(0).uniform(0.5, 1, (8, 1, 3, 3)).astype(np.float32)
    layer = Layer("dw", 0, "x", "w", "", 0, group=8)
    plain, safe = (store_weights(layer, weight, None, 1.0, pair_safe=each) for each in (False, True))
    assert np.array_equal(plain.weight, safe.weight)


@given(steps=st.integers(64, 127))
def test_weights_on_a_grid_stay_exact(steps: int) -> None:
    random = np.random.default_rng(steps)
    grid = random.integers(-steps, steps + 1, (4, 6, 3, 3))
    grid[:, 0, 0, 0] = steps
    weight = (grid * np.float32(0.0137)).astype(np.float32)
    assert weight_noise_ratio(weight, store_weights(CONV, weight, None, 1.0, pair_safe=False)) > 100


@pytest.mark.parametrize("value", [0.0, 1e-38, 1e30])
def test_extreme_weights_have_finite_scales(value: float) -> None:
    weight = np.zeros((3, 2, 1, 1), np.float32)
    weight[0] = value
    stored = store_weights(CONV, weight, np.float32([1, 1, 1]), 1e-3, pair_safe=False)
    assert np.isfinite(stored.scales).all()
    assert (stored.scales > 0).all()


def test_a_large_bias_raises_the_scale_until_it_fits() -> None:
    weight = np.full((1, 2, 1, 1), 1e-6, np.float32)
    bias = np.float32([1000.0])
    stored = store_weights(CONV, weight, bias, 1e-4, pair_safe=False)
    whole = store_bias(bias, np.float32(1e-4) * stored.scales)
    assert 0 < whole[0] <= BIAS_MOST * 1.01
    assert whole[0] * 1e-4 * stored.scales[0] == pytest.approx(1000, rel=1e-3)
