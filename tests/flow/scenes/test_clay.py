from __future__ import annotations

import math

import numpy as np
import pytest

from flow.scenes.clay import Clay, mix


def lump() -> Clay:
    return Clay(left=-1, top=-1, right=1, bottom=1, density=50)


def test_a_ball_covers_its_ellipse() -> None:
    clay = lump()
    clay.ball((0, 0, 0), (0.6, 0.3, 0.2), (200, 100, 50), angle=30)
    covered = clay.finish().pixels[:, :, 3].sum() / 255 / 50**2
    assert covered == pytest.approx(math.pi * 0.6 * 0.3, rel=0.02)


def test_a_limb_is_a_rod_with_round_ends() -> None:
    clay = lump()
    clay.limb((-0.5, 0, 0), (0.5, 0, 0), 0.2, 0.2, (200, 100, 50))
    covered = clay.finish().pixels[:, :, 3].sum() / 255 / 50**2
    assert covered == pytest.approx(math.pi * 0.2**2 + 0.4, rel=0.02)


def test_the_nearer_part_is_seen_whatever_the_order() -> None:
    pictures = []
    for order in (0, 1):
        clay = lump()
        balls = [((0, 0, 0.5), (255, 0, 0)), ((0, 0, -0.5), (0, 0, 255))]
        for centre, colour in balls if order else balls[::-1]:
            clay.ball(centre, (0.4, 0.4, 0.1), colour, gloss=0)
        pictures.append(clay.finish().pixels)
    np.testing.assert_allclose(pictures[0].astype(int), pictures[1], atol=1)
    blue, _, red, _ = pictures[0][50, 50]
    assert red > 100 > blue


def test_light_comes_from_above_left() -> None:
    clay = lump()
    clay.ball((0, 0, 0), (0.8, 0.8, 0.8), (200, 200, 200))
    pixels = clay.finish().pixels
    assert pixels[30, 30, 0] > pixels[50, 50, 0] > pixels[75, 75, 0]


def test_a_spot_paints_only_what_is_there() -> None:
    clay = lump()
    clay.spot((0, 0), (0.5, 0.5), (255, 0, 0))
    assert clay.finish().pixels.max() == 0


def test_parts_outside_are_no_error() -> None:
    clay = lump()
    clay.limb((5, 5, 0), (6, 6, 0), 0.1, 0.1, (1, 2, 3))
    clay.ball((-9, 0, 0), (0.1, 0.1, 0.1), (1, 2, 3))
    clay.spot((0, 9), (0.1, 0.1), (1, 2, 3))
    clay.tube([(0, 5, 0), (1, 5, 0), (1, 6, 0)], 0.1, 0.1, (1, 2, 3))
    assert clay.finish().pixels.max() == 0


def test_mix() -> None:
    assert mix((0, 100, 200), (100, 100, 0), 0.25) == (25, 100, 150)
