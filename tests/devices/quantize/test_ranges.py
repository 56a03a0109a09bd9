from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.quantize.observe import merged
from devices.quantize.ranges import METHODS, Histogram, Method, choose, noise_ratio, step_of


def histogram(values: np.ndarray) -> Histogram:
    found = Histogram.empty(float(values.min()), float(values.max()))
    found.add(values.astype(np.float32))
    return found


def noise(values: np.ndarray, step: object) -> float:
    return float(((step.rounded(values) - values) ** 2).sum())  # type: ignore[attr-defined]


@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_ranges_hold_zero_exactly(low: float, high: float) -> None:
    step = step_of(min(low, high), max(low, high))
    assert 0 <= step.zero <= 255
    assert step.rounded(np.zeros(1))[0] == 0
    assert step.scale > 0


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), outlier=st.floats(1, 200))
@pytest.mark.parametrize("method", METHODS)
def test_ranges_lie_inside_what_was_seen(method: Method, seed: int, outlier: float) -> None:
    values = np.append(np.random.default_rng(seed).normal(0, 1, 5000), outlier)
    found, whole = choose(histogram(values), method), step_of(values.min(), values.max())
    assert found.low >= whole.low - whole.scale
    assert found.high <= whole.high + whole.scale


def test_least_squared_error_is_least() -> None:
    values = np.random.default_rng(0).standard_t(3, 100_000)
    seen = histogram(values)
    best = noise(values, choose(seen, "mse"))
    assert best < 0.9 * noise(values, choose(seen, "minmax"))
    assert best <= 1.02 * min(noise(values, choose(seen, method)) for method in METHODS)


def test_minmax_covers_everything_and_percentile_nearly_everything() -> None:
    values = np.append(np.random.default_rng(0).uniform(-1, 3, 100_000), 50.0)
    assert choose(histogram(values), "minmax").high == pytest.approx(50, rel=0.01)
    assert choose(histogram(values), "percentile").high == pytest.approx(3, rel=0.05)


def test_zeros_do_not_count_as_covered() -> None:
    random = np.random.default_rng(0)
    few = random.uniform(0, 6, 1000)
    step = choose(histogram(np.append(few, np.zeros(1_000_000))), "percentile")  # as Relu leaves them
    assert step.high == pytest.approx(6, rel=0.01)


def test_kl_keeps_a_saturated_range() -> None:
    values = np.clip(np.random.default_rng(0).normal(0, 6, 100_000), 0, 6)  # a third at the upper end, as Relu6 gives
    assert choose(histogram(values), "kl").high == pytest.approx(6, rel=0.05)


def test_what_a_function_makes_nothing_of_is_not_covered() -> None:
    values = np.random.default_rng(0).normal(-20, 20, 100_000)
    silu = lambda x: x / (1 + np.exp(-np.clip(x, -80, 80)))  # noqa: E731
    step = choose(histogram(values), "mse", silu)
    assert -15 < step.low < -2
    rough = choose(histogram(values), "mse")
    error = [((silu(each.rounded(values)) - silu(values)) ** 2).sum() for each in (step, rough)]
    assert error[0] < 0.6 * error[1]


def test_nothing_seen_but_zero_has_a_scale() -> None:
    for method in METHODS:
        assert choose(histogram(np.zeros(10)), method).scale == 1


def test_merged_histograms_keep_every_count() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, 1000), random.normal(0, 9, 2000)
    whole = merged([histogram(one), histogram(other)])
    assert whole.counts.sum() == 3000
    assert whole.low == pytest.approx(min(one.min(), other.min()), rel=1e-6)


def test_noise_ratio_is_that_of_the_values() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000)
    step = step_of(-1, 1)
    measured = 10 * np.log10((values**2).sum() / noise(values, step))
    assert noise_ratio(histogram(values), step) == pytest.approx(measured, abs=0.5)
