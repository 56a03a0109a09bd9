from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.scenes.sprite import Placement, Sprite, cut_out, lay, shadow


def square(side: int = 20) -> Sprite:
    alpha = np.zeros((40, 40))
    alpha[10 : 10 + side, 10 : 10 + side] = 1
    return cut_out(np.full((40, 40, 3), (10.0, 200.0, 90.0)), alpha, (20, 20), 10.0)


def test_painted_where_it_was_placed() -> None:
    canvas = np.zeros((60, 80, 3), np.uint8)
    placement = Placement(square(), 30, 25, 10)
    placement.paint(canvas)
    rows, columns = np.nonzero(canvas[:, :, 1] > 100)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (20, 15, 40, 35)
    np.testing.assert_allclose(placement.box, (20, 15, 40, 35))
    assert tuple(canvas[25, 30]) == (10, 200, 90)


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(-30, 110), y=st.floats(-30, 90), scale=st.floats(6, 12), angle=st.floats(-180, 180),
    stretch=st.floats(0.5, 1.5), mirror=st.sampled_from([-1, 1]),
)  # fmt: skip
def test_the_box_is_tight(x: float, y: float, scale: float, angle: float, stretch: float, mirror: int) -> None:
    canvas = np.zeros((60, 80, 3), np.uint8)
    placement = Placement(square(), x, y, scale, angle, stretch * mirror)
    placement.paint(canvas)
    rows, columns = np.nonzero(canvas[:, :, 1] > 100)
    x1, y1, x2, y2 = placement.box
    if len(rows):
        assert columns.min() >= x1 - 1.5
        assert columns.max() + 1 <= x2 + 1.5
        assert rows.min() >= y1 - 1.5
        assert rows.max() + 1 <= y2 + 1.5
    if x1 > 1 and y1 > 1 and x2 < 79 and y2 < 59:
        np.testing.assert_allclose((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), placement.box, atol=2)


def test_outside_nothing_is_painted() -> None:
    canvas = np.full((30, 30, 3), 7, np.uint8)
    for x, y in ((-100, 10), (200, 10), (10, -100), (10, 200)):
        Placement(square(), x, y, 10).paint(canvas)
    assert (canvas == 7).all()


def test_half_covered_is_half_mixed() -> None:
    region = np.full((4, 4, 3), 100, np.uint8)
    cut = np.full((4, 4, 4), (50, 50, 50, 128), np.uint8)
    lay(region, cut)
    np.testing.assert_allclose(region, 50 + 100 * (127 / 255), atol=1)


def test_a_shadow_darkens_most_in_the_middle() -> None:
    canvas = np.full((40, 80, 3), 200, np.uint8)
    Placement(shadow(4, 2, 10), 40, 20, 10).paint(canvas)
    assert canvas[20, 40, 0] < canvas[20, 55, 0] < canvas[2, 2, 0] == 200


def test_a_sprite_with_nothing_opaque_has_an_empty_box() -> None:
    sprite = cut_out(np.zeros((5, 5, 3)), np.zeros((5, 5)), (2, 2), 1.0)
    assert Placement(sprite, 9, 9, 1).box == (9, 9, 9, 9)
