"""Maps taken apart, and taps against OpenCV's own sums."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.kernels.colour import fixed_point
from devices.kernels.geometry import columns, quarter, rows, taps, upright
from devices.spec import ImageSpec

TURNS = [((1, 0), (0, -1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0)), ((-1, 0), (0, 1)), ((0, 1), (1, 0))]
sides = st.integers(1, 300)


@given(turn=st.sampled_from(TURNS), zoom=st.tuples(st.floats(0.01, 9), st.floats(0.01, 9)), corner=st.tuples(sides, sides))
def test_a_turn_and_what_is_left_make_the_map_again(turn, zoom, corner):
    matrix = np.column_stack([np.array(turn) * zoom, corner])
    split = quarter(matrix, 300, 200)
    assert split is not None
    turned, size, rest = split
    assert upright(rest)
    assert size == ((200, 300) if turn[0][0] == 0 else (300, 200))
    assert np.allclose(turned[:, :2] @ rest[:, :2], matrix[:, :2])
    assert np.allclose(turned[:, :2] @ rest[:, 2] + turned[:, 2], corner)
    ends = turned[:, :2] @ np.array([[0, size[0]], [0, size[1]]]) + turned[:, 2:]
    assert sorted(ends[0]) == [0, 300]
    assert sorted(ends[1]) == [0, 200]


@pytest.mark.parametrize(
    "matrix", [np.eye(2, 3), [[2, 0, 5], [0, 3, 1]], [[1, 1, 0], [-1, 1, 0]], [[0, 0, 0], [0, 1, 0]], np.zeros((2, 3))]
)
def test_other_maps_are_not_turns(matrix):
    assert quarter(np.array(matrix, float), 30, 20) is None


@given(size=sides, scaled=sides, left=st.integers(0, 50), noise=st.floats(-1e-9, 1e-9))
def test_a_part_has_the_taps_of_the_whole(size, scaled, left, noise):
    """Whatever a product of matrices leaves of rounding."""
    scale = size / scaled
    whole, rest = taps(0, scaled + left, scale, 0.0, size)
    part_whole, part_rest = taps(3, scaled + 3, scale * (1 + noise / 1000), left * scale - 3 * scale + noise * scale, size)
    assert np.array_equal(part_whole, whole[left:])
    assert np.array_equal(part_rest, rest[left:])


@given(size=sides, scaled=sides)
def test_weights_make_the_picture_that_opencv_makes(size, scaled):
    line = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    left, before, after = columns(*taps(0, scaled, size / scaled, 0.0, size), size)
    right = np.minimum(left + 1, size - 1)
    across = (line[left] * before + line[right] * after) >> 4
    assert np.array_equal(((across * 2048 >> 16) + 2) >> 2, cv2.resize(line[None], (scaled, 1))[0])
    upper, lower, before, after = rows(*taps(0, scaled, size / scaled, 0.0, size), size)
    kept = line.astype(int) * 128
    down = ((kept[upper] * before >> 16) + (kept[lower] * after >> 16) + 2) >> 2
    assert np.array_equal(down, cv2.resize(line[:, None], (1, scaled))[:, 0])


def test_vanishing_scales_are_no_scaling():
    for matrix in ([[1e-300, 0, 5], [0, 1, 0]], [[0, -1e-300, 5], [1, 0, 0]]):
        assert not upright(np.array(matrix))
        assert quarter(np.array(matrix), 4, 4) is None


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_fixed_point_keeps_white_black_and_gray(matrix, full_range):
    black, luma, blue, green_u, green_v, red = fixed_point(ImageSpec(2, 2, "yuv420p", full_range, matrix))
    white = 255 if full_range else 235
    assert ((white - black) * luma + (1 << 19)) >> 20 == 255
    assert black == (0 if full_range else 16)
    assert blue > red > 0 > green_u
    assert green_v < 0
