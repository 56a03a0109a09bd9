from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.count.line import Line
from ops.testing import HeapContext, frame

SPEC = RecordsSpec("detections", 8, ("cat", "dog"))


def counter(line: Any = ((0, 50), (100, 50)), **config: Any) -> Line:
    operator = Line(Line.Config(line=line, **config))
    operator.infer({"detections": SPEC})
    operator.open(HeapContext())
    return operator


def at(*tracks: tuple[int, float, float], class_id: int = 0) -> np.ndarray:
    """Tracks (number, x, y) whose feet are at (x, y)."""
    found = np.zeros(len(tracks), SPEC.dtype)
    for record, (number, x, y) in zip(found, tracks, strict=True):
        record["box"], record["track"], record["class_id"] = (x - 5, y - 30, x + 5, y), number, class_id
    return found


def walk(operator: Line, *steps: np.ndarray, start: int = 0) -> list[list[tuple[str, int, float]]]:
    """(direction, track, count) of the events of each frame."""
    return [
        [(operator.events[e["name"]], int(e["track"]), float(e["value"])) for e in operator.run(frame(seq), detections=found)["event"]]
        for seq, found in enumerate(steps, start)
    ]


def totals(operator: Line, found: np.ndarray) -> dict[str, float]:
    records = operator.run(frame(99), detections=found)["totals"]
    return {operator.totals[record["name"]]: float(record["value"]) for record in records}


def test_crossings_are_counted_by_direction() -> None:
    operator = counter()
    steps = [at((1, 20, 40), (2, 60, 60)), at((1, 20, 60), (2, 60, 60)), at((1, 20, 70), (2, 60, 40)), at((1, 20, 40))]
    assert walk(operator, *steps) == [[], [("in", 1, 1)], [("out", 2, 1)], [("out", 1, 2)]]
    assert totals(operator, at()) == {"in": 1, "out": 2}


def test_the_other_way_round_in_is_out() -> None:
    assert walk(counter(((100, 50), (0, 50))), at((1, 20, 40)), at((1, 20, 60))) == [[], [("out", 1, 1)]]


def test_several_in_one_frame_count_on() -> None:
    operator = counter()
    assert walk(operator, at((1, 20, 40), (2, 60, 40)), at((1, 20, 60), (2, 60, 60)))[1] == [("in", 1, 1), ("in", 2, 2)]


def test_the_event_says_where() -> None:
    operator = counter()
    operator.run(frame(0), detections=at((1, 20, 40)))
    (event,) = operator.run(frame(1), detections=at((1, 40, 60)))["event"]
    assert event["point"].tolist() == [30, 50]


def test_past_the_ends_is_no_crossing() -> None:
    assert walk(counter(), at((1, 120, 40)), at((1, 120, 60)), at((1, 80, 60)), at((1, 80, 40))) == [[], [], [], [("out", 1, 1)]]


def test_standing_on_the_line_is_counted_once() -> None:
    steps = [at((1, 20, y)) for y in (40, 49, 51, 49, 51, 49, 60, 51, 49, 60)]
    assert [event for events in walk(counter(margin=2), *steps) for event in events] == [("in", 1, 1)]


def test_a_track_that_appears_on_the_line_counts_from_where_it_goes() -> None:
    assert walk(counter(), at((1, 20, 50)), at((1, 20, 60)), at((1, 20, 40))) == [[], [], [("out", 1, 1)]]


def test_a_track_is_given_up_after_patience() -> None:
    for gap, events in ((3, [("in", 1, 1.0)]), (4, [])):
        assert walk(counter(patience=3), at((1, 20, 40)), *[at()] * gap, at((1, 20, 60)))[-1] == events


def test_only_chosen_classes_and_only_tracks_count() -> None:
    operator = counter(classes=["dog"])
    assert walk(operator, at((1, 20, 40)), at((1, 20, 60))) == [[], []]
    assert walk(operator, at((2, 20, 40), class_id=1), at((2, 20, 60), class_id=1))[1] == [("in", 2, 1)]
    assert walk(counter(), at((-1, 20, 40)), at((-1, 20, 60))) == [[], []]


def test_the_anchor_is_the_point_that_counts() -> None:
    assert walk(counter(anchor="top"), at((1, 20, 70)), at((1, 20, 90)))[1] == [("in", 1, 1)]


@given(st.lists(st.tuples(st.floats(-50, 150), st.floats(0, 100)), min_size=1, max_size=30), st.integers(0, 30))
def test_in_and_out_alternate_within_the_ends_and_state_is_handed_over(path: list[tuple[float, float]], cut: int) -> None:
    steps = [at((1, x, y)) for x, y in path]
    operator = counter(((-1000, 50), (1000, 50)), margin=0)
    events = walk(operator, *steps)
    names = [name for step in events for name, *_ in step]
    assert all(one != other for one, other in pairwise(names))
    before, after = counter(((-1000, 50), (1000, 50)), margin=0), counter(((-1000, 50), (1000, 50)), margin=0)
    walk(before, *steps[:cut])
    after.restore(before.save())
    assert walk(after, *steps[cut:], start=cut) == events[cut:]


def test_specs() -> None:
    assert Line(Line.Config(line=((0, 0), (1, 1)))).infer({"detections": SPEC}) == {
        "event": RecordsSpec("event", 16, ("in", "out")),
        "totals": RecordsSpec("event", 2, ("in", "out")),
    }


def test_bad_settings_and_states() -> None:
    with pytest.raises(SpecError, match="a line with some extent"):
        counter(((5, 5), (5, 5)))
    with pytest.raises(SpecError, match="did you mean 'dog'"):
        counter(classes=["dogs"])
    with pytest.raises(ValueError, match=r"state of count\.line"):
        counter().restore(b"junk")
