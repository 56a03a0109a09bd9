from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.quantize.balance import Channels, balanced, by_input
from devices.quantize.units import Layer

WIDE = Layer("wide", 0, "x", "w", "", 0)
DEPTHWISE = Layer("depthwise", 0, "x", "w", "", 0, group=8)


def channels(sizes: np.ndarray) -> Channels:
    return Channels(-sizes, sizes, sizes**2 / 3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0, 4))
def test_channels_are_only_ever_enlarged_and_no_more_than_they_may(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(0, 1, (4, 8, 1, 1)).astype(np.float32)
    least = random.uniform(0, 1, 8)
    s = balanced([(WIDE, weight)], [channels(np.exp(random.normal(0, spread, 8)))], 64.0, least)
    assert (s <= 1).all()
    assert (s >= np.minimum(1, least)).all()
    assert (s >= 1 / 64).all()


def test_a_depthwise_layer_takes_the_whole_factor_and_a_wide_one_what_its_weights_allow() -> None:
    sizes = np.geomspace(0.05, 1, 8)
    one = np.ones((8, 1, 3, 3), np.float32)
    assert np.allclose(balanced([(DEPTHWISE, one)], [channels(sizes)], 64.0, np.zeros(1)), sizes)
    weight = np.random.default_rng(0).normal(0, 1, (16, 8, 1, 1)).astype(np.float32) * sizes.reshape(1, 8, 1, 1)
    alike = balanced([(WIDE, weight / sizes.reshape(1, 8, 1, 1) ** 2)], [channels(sizes)], 64.0, np.zeros(1))
    assert np.allclose(alike, sizes), "scaling makes the weights alike as well"


def test_factors_meet_the_channels_of_each_group() -> None:
    layer = Layer("grouped", 0, "x", "w", "", 0, group=2)
    scaled = by_input(layer, np.ones((4, 3, 1, 1), np.float32), np.arange(1.0, 7.0))
    assert scaled[:, :, 0, 0].tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]
