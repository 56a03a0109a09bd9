from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.scenes.hand import GESTURES
from flow.scenes.home import HOLD, LEG, HomeScene
from flow.scenes.sprite import Placement

WIDTH, HEIGHT = 320, 180


def opaque(placement: Placement) -> np.ndarray:
    """Bool (HEIGHT, WIDTH): where the sprite covers more than half of what is behind it."""
    dark, bright = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    placement.paint(dark)
    placement.paint(bright)
    return bright[:, :, 1].astype(int) - dark[:, :, 1] < 128


def scene(seed: int, *, hand: bool = True, pets: bool = True) -> HomeScene:
    return HomeScene(seed=seed, width=WIDTH, height=HEIGHT, fps=30, hand=hand, pets=pets)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), index=st.integers(0, 10**5))
def test_a_true_box_is_where_the_pixels_are(seed: int, index: int) -> None:
    film = scene(seed)
    boxes = {box.label: box for box in film.truth(index).boxes}
    for act in film.acts(index):
        rows, columns = np.nonzero(opaque(act.body))
        if len(rows) < 4:
            continue
        painted = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(boxes[act.label].box, painted, atol=2)


def test_every_gesture_and_both_pets_appear() -> None:
    film = scene(4)
    steps = range(0, int(30 * HOLD * len(GESTURES)) + 1, 10)
    assert {box.label for k in steps for box in film.truth(k).boxes} == {*GESTURES, "cat", "dog"}


def test_a_hand_between_two_gestures_is_difficult() -> None:
    film = scene(4, pets=False)
    hands = [film.truth(k).boxes[0] for k in range(int(30 * HOLD * 3))]
    changes = [k for k, (a, b) in enumerate(pairwise(hands)) if a.label != b.label]
    assert len(changes) in (2, 3)
    assert all(hands[k].difficult or hands[k + 1].difficult for k in changes)
    assert sum(hand.difficult for hand in hands) < len(hands) / 4


def test_what_is_behind_something_is_difficult() -> None:
    film = scene(7)
    crossed = seen = 0
    for k in range(0, 3000, 30):
        *_, hand = acts = film.acts(k)
        boxes = {box.label: box for box in film.truth(k).boxes}
        for act in acts[:-1]:
            body = opaque(act.body)
            share = (body & (opaque(hand.body) | opaque(acts[1].body))).sum() / body.sum() if act is acts[0] else 0.0
            crossed += share > 0.75
            seen += share > 0.75 and boxes[act.label].difficult
    assert crossed == seen > 0


@pytest.mark.parametrize("species", ["cat", "dog"])
def test_pets_walk_without_jumps(species: str) -> None:
    film = scene(3, hand=False)
    places = [next((a.body.x, a.body.y) for a in film.acts(k) if a.label == species) for k in range(int(30 * LEG * 3))]
    steps = np.abs(np.diff(np.array(places), axis=0)).max(axis=0)
    assert steps[0] < WIDTH * 0.02
    assert steps[1] < HEIGHT * 0.02
    assert np.ptp([x for x, _ in places]) > WIDTH * 0.2


def test_hand_or_pets_alone() -> None:
    assert {act.label for act in scene(0, hand=False).acts(0)} == {"cat", "dog"}
    assert {act.label for act in scene(0, pets=False).acts(0)} <= set(GESTURES)
