from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.draw.canvas import PALETTE, Canvas, color

WILD = st.floats(allow_nan=True, allow_infinity=True, width=32)


@settings(max_examples=30, deadline=None)
@given(st.lists(WILD, min_size=8, max_size=8), st.text(max_size=8))
def test_wild_coordinates_and_texts_do_no_harm(numbers: list[float], text: str) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    canvas = Canvas(pixels)
    points = np.resize(np.array(numbers), (21, 2))
    canvas.box(points[:2].ravel(), PALETTE[0])
    canvas.dot(points[2], PALETTE[1], 2)
    canvas.hand(points)
    canvas.label(text, float(points[3, 0]), float(points[3, 1]), PALETTE[2])


def test_a_box_is_drawn_on_its_edges_alone() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    Canvas(pixels).box(np.array([20.0, 30.0, 80.0, 70.0]), (255, 255, 255))
    drawn = pixels.any(2)
    assert drawn[30, 20:80].all()
    assert drawn[30:70, 20].all()
    assert not drawn[34:66, 24:76].any()
    assert not drawn[:27].any()


@pytest.mark.parametrize("corner", [(-500, -500), (500, 500), (5, 5)])
def test_a_label_lies_in_the_picture(corner: tuple[int, int]) -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    Canvas(pixels).label("dog 0.91", *corner, color(3))
    assert pixels.any(2).sum() > 200


def test_a_picture_too_small_for_a_label() -> None:
    pixels = np.zeros((3, 3, 3), np.uint8)
    Canvas(pixels).label("dog 0.91", 0, 0, color(3))
    assert pixels.any()


def test_colours_can_be_told_apart() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    distances = np.linalg.norm(np.array(PALETTE, float)[:, None] - np.array(PALETTE, float), axis=2)
    assert distances[np.triu_indices(len(PALETTE), 1)].min() > 40
    assert color(0) == color(len(PALETTE))
