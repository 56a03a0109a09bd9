from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ops.boxes.geometry import anchors, areas, inside, overlaps

CORNER = st.integers(-50, 50)
BOX = st.tuples(CORNER, CORNER, st.integers(0, 40), st.integers(0, 40)).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def rows(boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(boxes, float).reshape(-1, 4)


@given(st.lists(BOX, max_size=6), st.lists(BOX, max_size=6))
def test_overlaps_counts_shared_pixels(one: list[tuple[int, int, int, int]], other: list[tuple[int, int, int, int]]) -> None:
    found = overlaps(rows(one), rows(other))
    assert found.shape == (len(one), len(other))
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            shared = len(set(range(a[0], a[2])) & set(range(b[0], b[2]))) * len(set(range(a[1], a[3])) & set(range(b[1], b[3])))
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
            assert abs(found[i, j] - (shared / union if union else 0)) < 1e-12


def test_boxes_turned_inside_out_overlap_nothing() -> None:
    turned = rows([(10, 10, 0, 0)])
    assert overlaps(turned, rows([(0, 0, 10, 10)])).item() == 0
    assert overlaps(turned, turned).item() == 0
    assert areas(turned).item() == 0


def test_anchors() -> None:
    box = rows([(10, 20, 30, 60)])
    assert anchors(box, "bottom").tolist() == [[20, 60]]
    assert anchors(box, "center").tolist() == [[20, 40]]
    assert anchors(box, "top").tolist() == [[20, 20]]


def test_inside_a_polygon_with_a_notch() -> None:
    notched = np.array([(0, 0), (10, 0), (10, 10), (5, 2), (0, 10)], float)
    points = np.array([(5, 1), (5, 5), (1, 5), (9, 5), (-1, 1), (11, 1), (5, -1)], float)
    assert inside(points, notched).tolist() == [True, False, True, True, False, False, False]


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), max_size=20))
def test_inside_a_rectangle_is_between_its_sides(points: list[tuple[float, float]]) -> None:
    at = np.array(points, float).reshape(-1, 2)
    rectangle = np.array([(-5, -3), (7, -3), (7, 4), (-5, 4)], float)
    expected = (at[:, 0] >= -5) & (at[:, 0] < 7) & (at[:, 1] >= -3) & (at[:, 1] < 4)
    assert (inside(at, rectangle) == expected).all()
