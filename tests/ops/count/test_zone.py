from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.count.zone import Zone
from ops.testing import HeapContext
from ops.value import Frame

SPEC = RecordsSpec("detections", 8, ("cat", "dog"))
SQUARE = ((0, 0), (100, 0), (100, 100), (0, 100))
SECOND = 1_000_000_000


def counter(**config: Any) -> Zone:
    operator = Zone(Zone.Config(zone=SQUARE, **config))
    operator.infer({"detections": SPEC})
    operator.open(HeapContext())
    return operator


def at(*tracks: tuple[int, float, float]) -> np.ndarray:
    found = np.zeros(len(tracks), SPEC.dtype)
    for record, (number, x, y) in zip(found, tracks, strict=True):
        record["box"], record["track"] = (x - 5, y - 30, x + 5, y), number
    return found


def watch(operator: Zone, *steps: np.ndarray, start: int = 0) -> list[list[tuple[str, int, float]]]:
    """(event, track, seconds) of each frame, one a second."""
    return [
        [
            (operator.events[e["name"]], int(e["track"]), float(e["value"]))
            for e in operator.run(Frame("test", seq, seq * SECOND), detections=found)["event"]
        ]
        for seq, found in enumerate(steps, start)
    ]


def totals(operator: Zone, found: np.ndarray, seq: int = 99) -> list[float]:
    return operator.run(Frame("test", seq, seq * SECOND), detections=found)["totals"]["value"].tolist()  # type: ignore[no-any-return]


def test_coming_and_going() -> None:
    operator = counter()
    steps = [at((1, 150, 50)), at((1, 50, 50)), at((1, 60, 50), (2, 10, 10)), at((1, 150, 50), (2, 10, 20)), at((2, 10, 150))]
    assert watch(operator, *steps) == [[], [("enter", 1, 0)], [("enter", 2, 0)], [("leave", 1, 2)], [("leave", 2, 2)]]
    assert totals(operator, at((3, 50, 50), (4, 60, 60))) == [2, 4, 2]


def test_a_track_that_is_gone_left_when_it_was_last_seen() -> None:
    operator = counter(patience=2)
    steps = [at((1, 50, 50)), at((1, 50, 50)), at(), at(), at()]
    assert watch(operator, *steps) == [[("enter", 1, 0)], [], [], [], [("leave", 1, 1)]]


def test_a_short_absence_changes_nothing() -> None:
    operator = counter(patience=2)
    assert watch(operator, at((1, 50, 50)), at(), at(), at((1, 50, 50)), at((1, 150, 50))) == [
        [("enter", 1, 0)],
        [],
        [],
        [],
        [("leave", 1, 4)],
    ]


def test_staying_long_is_told_once() -> None:
    operator = counter(dwell_s=2.5)
    assert watch(operator, *[at((1, 50, 50))] * 6) == [[("enter", 1, 0)], [], [], [("dwell", 1, 3)], [], []]
    assert watch(operator, at((1, 150, 50)), at((1, 50, 50)), *[at((1, 50, 50))] * 3, start=6)[-1] == [("dwell", 1, 3)]


def test_the_event_says_where() -> None:
    operator = counter()
    watch(operator, at((1, 50, 40)))
    (event,) = operator.run(Frame("test", 1, SECOND), detections=at((1, 150, 60)))["event"]
    assert event["point"].tolist() == [150, 60]


PLACE = st.tuples(st.integers(1, 8), st.sampled_from((50, 150)), st.sampled_from((50, 150)))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(PLACE, max_size=8, unique_by=lambda place: place[0]), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 3)
)
def test_the_books_balance_and_state_is_handed_over(clip: list[list[tuple[int, int, int]]], cut: int, patience: int) -> None:
    steps = [at(*found) for found in clip]
    operator = counter(patience=patience, dwell_s=2)
    events = watch(operator, *steps)
    assert all(len(step) <= 16 for step in events), "no more than the port carries"
    inside: set[int] = set()
    for step in events:
        for name, track, _ in step:
            if name == "enter":
                assert track not in inside
                inside.add(track)
            else:
                assert track in inside
                inside -= {track} if name == "leave" else set()
    before, after = counter(patience=patience, dwell_s=2), counter(patience=patience, dwell_s=2)
    watch(before, *steps[:cut])
    after.restore(before.save())
    assert watch(after, *steps[cut:], start=cut) == events[cut:]
    occupancy, entered, left = totals(operator, at(), len(clip))
    assert occupancy == entered - left


def test_specs() -> None:
    assert Zone(Zone.Config(zone=SQUARE)).infer({"detections": SPEC}) == {
        "event": RecordsSpec("event", 16, ("enter", "leave", "dwell")),
        "totals": RecordsSpec("event", 3, ("occupancy", "entered", "left")),
    }


def test_bad_settings_and_states() -> None:
    with pytest.raises(SpecError, match="a zone with some extent"):
        Zone(Zone.Config(zone=((0, 0), (5, 5), (9, 9)))).infer({"detections": SPEC})
    with pytest.raises(ValueError, match=r"state of count\.zone"):
        counter().restore(b"junk")
