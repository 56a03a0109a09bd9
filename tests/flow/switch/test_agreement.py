from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.switch.agreement import agreement, distance, overlap

numbers = st.floats(0, 1000).map(lambda number: round(number, 1))
boxes = st.tuples(numbers, numbers, numbers, numbers).map(lambda n: [n[0], n[1], n[0] + n[2] + 1, n[1] + n[3] + 1])
detections = st.lists(st.fixed_dictionaries({"box": boxes, "score": numbers, "label": st.sampled_from(["cat", "dog"])}), max_size=5)
points = st.lists(st.fixed_dictionaries({"point": st.tuples(numbers, numbers), "score": numbers}), max_size=5)
hands = st.lists(
    st.fixed_dictionaries(
        {"points": st.lists(st.tuples(numbers, numbers, numbers), min_size=3, max_size=3), "handedness": st.sampled_from(["left", None])}
    ),
    max_size=3,
)
rows = st.one_of(
    st.builds(lambda found: {"detections": found}, detections),
    st.builds(lambda found: {"points": found}, points),
    st.builds(lambda found: {"landmarks": found}, hands),
)


def box(x: float, label: str = "cat") -> dict[str, Any]:
    return {"box": [x, 0, x + 10, 10], "label": label}


@given(rows)
def test_what_is_equal_agrees(row: dict[str, Any]) -> None:
    assert agreement(row, row) == 1.0


@given(detections, detections)
def test_it_is_symmetric_and_from_0_to_1(one: list[Any], other: list[Any]) -> None:
    found = agreement({"detections": one}, {"detections": other})
    assert 0 <= found <= 1
    assert found == agreement({"detections": other}, {"detections": one})


@pytest.mark.parametrize(
    ("ours", "theirs", "share"),
    [
        ({"detections": [box(0), box(50)]}, {"detections": [box(3)]}, 2 / 3),
        ({"detections": [box(0)]}, {"detections": [box(4)]}, 0.0),
        ({"detections": [box(0)]}, {"detections": [box(0, "dog")]}, 0.0),
        ({"detections": [box(0)]}, {"detections": [{"box": [None] * 4, "label": "cat"}]}, 0.0),
        ({"detections": []}, {"detections": [box(0)]}, 0.0),
        ({"detections": []}, {"points": []}, 0.0),
        ({"classes": [{"label": "a", "score": 0.4}, {"label": "b", "score": 0.6}]}, {"classes": [{"label": "b", "score": 0.9}]}, 1.0),
        ({"classes": [{"label": "a", "score": 0.4}]}, {"classes": []}, 0.0),
        ({"event": [{"event": "wave", "value": 1.0}]}, {"event": [{"event": "wave", "value": 1.0}]}, 1.0),
        ({"event": [{"event": "wave", "value": 1.0}]}, {"event": [{"event": "wave", "value": 2.0}]}, 0.0),
        ({"points": [{"point": [0, 0]}]}, {"points": [{"point": [8, 0]}]}, 1.0),
        ({"points": [{"point": [0, 0]}]}, {"points": [{"point": [9, 0]}]}, 0.0),
    ],
)
def test_agreement_by_kind(ours: Any, theirs: Any, share: float) -> None:
    assert agreement(ours, theirs) == pytest.approx(share)


def test_landmarks_agree_within_a_twentieth_of_their_extent() -> None:
    hand = [[0.0, 0.0], [30.0, 40.0]]
    moved = [[x + 2.5, y] for x, y in hand]
    assert distance(hand, moved) == pytest.approx(0.05)
    far = [[x + 2.6, y] for x, y in hand]
    ours, near, out = ({"landmarks": [{"points": each, "handedness": "left"}]} for each in (hand, moved, far))
    assert (agreement(ours, near), agreement(ours, out)) == (1.0, 0.0)
    assert math.isinf(distance(hand, hand[:1]))


def test_boxes_that_do_not_meet() -> None:
    assert overlap([0, 0, 1, 1], [1, 0, 2, 1]) == 0.0
    assert overlap([0, 0, 2, 1], [1, 0, 3, 1]) == pytest.approx(1 / 3)
