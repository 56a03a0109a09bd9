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


def test_labels_hide_no_other() -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    canvas = Canvas(pixels)
    for number in range(6):
        canvas.label(f"dog 0.9{number}", 50 + 3 * number, 100 + 2 * number, color(number))
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 3)}
    grounds = [tuple(3 * channel // 4 for channel in color(number)) for number in range(6)]
    size = {ground: int((pixels == ground).all(2).sum()) for ground in grounds}
    assert set(grounds) <= colours
    assert min(size.values()) > 0.9 * max(size.values()), "all grounds are whole"


def test_the_first_label_keeps_its_place_and_a_full_picture_is_no_fault() -> None:
    alone, crowded = (np.zeros((60, 120, 3), np.uint8) for _ in range(2))
    Canvas(alone).label("dog", 10, 30, color(0))
    canvas = Canvas(crowded)
    for _ in range(40):
        canvas.label("dog", 10, 30, color(0))
    assert crowded[alone.any(2)].any()


def test_a_line_points_to_the_right_of_who_walks_along_it() -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    Canvas(pixels).line_with_side(np.array([[20.0, 100.0], [180.0, 100.0]]), (255, 255, 255))  # from left to right: downwards
    drawn = (pixels > 100).all(2)
    assert drawn[98:102, 25:175].any(0).all()
    assert drawn[104:].any()
    assert not drawn[:97].any()


def test_a_picture_too_small_for_a_label() -> None:
    pixels = np.zeros((3, 3, 3), np.uint8)
    Canvas(pixels).label("dog 0.91", 0, 0, color(3))
    assert pixels.any()


def test_colours_can_be_told_apart() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    distances = np.linalg.norm(np.array(PALETTE, float)[:, None] - np.array(PALETTE, float), axis=2)
    assert distances[np.triu_indices(len(PALETTE), 1)].min() > 40
    assert color(0) == color(len(PALETTE))
