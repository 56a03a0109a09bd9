from __future__ import annotations

import numpy as np
import pytest

from flow.scenes.hand import GESTURES, POSES, Hand, hand_sprite, sleeve_sprite, wrist_of
from flow.scenes.truth import LABELS


@pytest.fixture
def hand() -> Hand:
    return Hand.draw_from(np.random.default_rng(1), 40)


def test_every_gesture_is_posed_and_labelled() -> None:
    assert set(GESTURES) == set(POSES)
    assert LABELS[: len(GESTURES)] == GESTURES


def test_gestures_look_different(hand: Hand) -> None:
    masks = {gesture: hand_sprite(hand, gesture).pixels[:, :, 3] > 127 for gesture in GESTURES}
    for a in GESTURES:
        for b in GESTURES:
            alike = (masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum()
            assert (alike == 1) if a == b else (alike < 0.9)


def test_stretched_fingers_make_a_tall_hand(hand: Hand) -> None:
    tall = {g: float(np.ptp(hand_sprite(hand, g).hull[:, 1])) for g in GESTURES}
    assert tall["open"] > 1.4 * tall["fist"]
    assert tall["point"] > 1.2 * tall["fist"]


def test_the_way_between_two_gestures(hand: Hand) -> None:
    start, middle, end = (hand_sprite(hand, "fist", "open", share).pixels[:, :, 3].astype(int).sum() for share in (0.0, 0.5, 1.0))
    assert start < middle < end
    np.testing.assert_array_equal(hand_sprite(hand, "fist", "open", 1.0).pixels, hand_sprite(hand, "open").pixels)
    x = [wrist_of("fist", "thumb", share)[0] for share in (0.0, 0.5, 1.0)]
    assert x[0] > x[1] > x[2] == wrist_of("thumb")[0]


def test_the_sleeve_meets_the_hand(hand: Hand) -> None:
    """Where the hand ends, the cuff covers it."""
    for gesture in GESTURES:
        sprite, sleeve = hand_sprite(hand, gesture), sleeve_sprite(hand)
        last = np.flatnonzero(sprite.pixels[-1, :, 3] > 127)
        dx, _ = wrist_of(gesture)
        columns = np.round((last - sprite.origin[0]) - dx * hand.density + sleeve.origin[0]).astype(int)
        row = int(sleeve.origin[1]) + 1
        assert (sleeve.pixels[row, columns, 3] > 127).all()
