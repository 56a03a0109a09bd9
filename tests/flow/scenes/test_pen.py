from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.scenes.pen import PAGE, PenScene, drawing

WIDTH, HEIGHT = 640, 360


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), index=st.integers(0, 10**5))
def test_the_tip_is_the_end_of_what_is_dark(seed: int, index: int) -> None:
    film = PenScene(seed=seed, width=WIDTH, height=HEIGHT, fps=30)
    tip = film.truth(index).tip
    assert tip is not None
    rows, columns = np.nonzero(cv2.cvtColor(film.frame(index), cv2.COLOR_BGR2GRAY) < 64)
    assert len(rows) > 500
    assert np.hypot(columns + 0.5 - tip.x, rows + 0.5 - tip.y).min() < 3
    assert rows.min() > tip.y - 4


def test_the_tip_stays_in_the_picture() -> None:
    film = PenScene(seed=2, width=WIDTH, height=HEIGHT, fps=30)
    tips = [film.truth(k).tip for k in range(0, 1800, 7)]
    assert all(tip is not None and 0 < tip.x < WIDTH and 0 < tip.y < HEIGHT for tip in tips)
    assert {tip.down for tip in tips if tip} == {True, False}


def test_ink_stays_where_the_tip_was() -> None:
    film = PenScene(seed=0, width=WIDTH, height=HEIGHT, fps=30)
    down = next(tip for k in range(300) if (tip := film.truth(k).tip) and tip.down)
    late = int(PAGE * 30) - 2
    before, after = film.desk[round(down.y), round(down.x)], film.frame(late)[round(down.y), round(down.x)]
    assert np.abs(before.astype(int) - after).max() > 40


def test_a_new_page_is_empty() -> None:
    film = PenScene(seed=0, width=WIDTH, height=HEIGHT, fps=30)
    assert PAGE * 30 == 300
    inked = []
    for index in (299, 300):
        frame, empty = film.frame(index).astype(int), film.camera.film(film.desk, index, index / 30)
        inked.append(((np.abs(frame - empty).max(axis=2) > 60) & (frame.max(axis=2) > 100)).sum())
    assert inked[0] > 5 * inked[1]


@pytest.mark.parametrize("number", range(12))
def test_a_page_is_one_way_without_jumps(number: int) -> None:
    page = drawing(3, number)
    assert len(page.way) == len(page.lift)
    assert np.hypot(*np.diff(page.way, axis=0).T).max() < 0.03
    assert ((page.way > 0) & (page.way < 1)).all()
    assert page.lift[-1] == 1
    assert (page.lift == 0).mean() > 0.4
