from __future__ import annotations

import numpy as np
import pytest

from flow.scenes.camera import Camera


def filmed(seed: int, index: int, grey: int = 120) -> np.ndarray:
    return Camera(seed=seed, width=64, height=48).film(np.full((48, 64, 3), grey, np.uint8), index, index / 30)


def test_noise_differs_from_frame_to_frame_and_repeats() -> None:
    assert (filmed(1, 5) != filmed(1, 6)).any()
    np.testing.assert_array_equal(filmed(1, 5), filmed(1, 5))


@pytest.mark.parametrize("seed", range(5))
def test_light_drifts_a_little(seed: int) -> None:
    means = [filmed(seed, index).mean() for index in range(0, 300, 20)]
    assert np.ptp(means) > 0.5
    assert all(0.8 * 120 < mean < 1.2 * 120 for mean in means)


def test_white_stays_white() -> None:
    assert filmed(0, 0, 255).min() > 180
