from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.testing import HeapContext, frame, run
from ops.track.byte import Byte

Make = Callable[..., np.ndarray]
SPEC = RecordsSpec("detections", 32, ("cat", "dog"))


def tracker(**config: Any) -> Byte:
    operator = Byte(Byte.Config(**config))
    assert operator.infer({"detections": SPEC}) == {"detections": SPEC}
    operator.open(HeapContext())
    return operator


def follow(operator: Byte, frames: Iterable[np.ndarray], start: int = 0) -> list[list[int]]:
    """Track numbers of each frame."""
    return [operator.run(frame(seq), detections=found)["track"].tolist() for seq, found in enumerate(frames, start)]


def walk(boxes: Make, seq: int, score: float = 0.9, *, x: float = 0, speed: float = 5, class_id: int = 0) -> np.ndarray:
    return boxes((x + speed * seq, 100, x + speed * seq + 40, 200, score, class_id))


def test_an_object_keeps_its_number_and_its_own_box(boxes: Make) -> None:
    operator = tracker()
    for seq in range(20):
        found = walk(boxes, seq)
        out = operator.run(frame(seq), detections=found)
        assert out["track"].tolist() == [1]
        assert out["box"].tolist() == found["box"].tolist()
        assert found["track"].tolist() == [-1], "the input is left as it was"


def test_objects_that_cross_keep_their_numbers(boxes: Make) -> None:
    frames = [np.concatenate([walk(boxes, seq), walk(boxes, seq, x=300, speed=-5)]) for seq in range(60)]
    for found in frames:
        found["box"][1, 1::2] += 60  # they overlap by a third as they pass
    assert follow(tracker(), frames) == [[1, 2]] * 60


def test_weak_detections_carry_a_track_through_but_start_none(boxes: Make) -> None:
    scores = [0.9] * 5 + [0.2] * 10 + [0.9] * 5
    assert follow(tracker(), [walk(boxes, seq, score) for seq, score in enumerate(scores)]) == [[1]] * 20
    assert follow(tracker(), [walk(boxes, seq, 0.2) for seq in range(10)]) == [[]] * 10


def test_what_is_below_low_is_ignored(boxes: Make) -> None:
    assert follow(tracker(), [walk(boxes, 0), walk(boxes, 1, 0.09), walk(boxes, 2)]) == [[1], [], [1]]


def test_a_lost_track_is_found_again_within_the_buffer(boxes: Make) -> None:
    def absent_for(gap: int) -> list[int]:
        frames = [walk(boxes, 0, speed=0)] * 5 + [boxes()] * gap + [walk(boxes, 0, speed=0)] * 3
        return follow(tracker(buffer=6), frames)[-1]

    assert absent_for(5) == [1]
    assert absent_for(6) == [1]
    assert absent_for(7) == [2]


def test_a_moving_object_is_found_where_it_should_be_by_now(boxes: Make) -> None:
    frames = [walk(boxes, seq) for seq in range(15)] + [boxes()] * 10 + [walk(boxes, seq) for seq in range(25, 30)]
    assert follow(tracker(), frames)[-1] == [1]


def test_a_single_flash_gets_no_number(boxes: Make) -> None:
    frames = [walk(boxes, 0, speed=0) for _ in range(8)]
    frames[3] = np.concatenate([frames[3], boxes((400, 100, 440, 200, 0.9))])
    frames[6] = np.concatenate([frames[6], boxes((400, 300, 440, 400, 0.9))])
    frames[7] = np.concatenate([frames[7], boxes((400, 300, 440, 400, 0.9))])
    assert follow(tracker(), frames) == [[1]] * 7 + [[1, 2]]


def test_class_holds_a_track_together_only_when_told_to(boxes: Make) -> None:
    frames = [walk(boxes, 0, speed=0, class_id=seq // 4) for seq in range(8)]
    assert follow(tracker(), frames) == [[1]] * 8
    assert follow(tracker(per_class=True), frames) == [[1]] * 4 + [[]] + [[2]] * 3


def test_instances_count_for_themselves(boxes: Make) -> None:
    first, second = tracker(), tracker()
    follow(first, [np.concatenate([walk(boxes, seq), walk(boxes, seq, x=300)]) for seq in range(3)])
    assert follow(second, [walk(boxes, seq) for seq in range(3)]) == [[1]] * 3


@st.composite
def clips(draw: st.DrawFn) -> list[np.ndarray]:
    def row() -> tuple[Any, ...]:
        x, y = draw(st.integers(0, 100)), draw(st.integers(0, 100))
        size = draw(st.integers(0, 60))
        return (*map(float, (x, y, x + size, y + size)), draw(st.sampled_from((0.05, 0.2, 0.45, 0.6, 0.9))), draw(st.integers(0, 1)), -1)

    dtype = SPEC.dtype
    clip = []
    for _ in range(draw(st.integers(1, 12))):
        found = np.zeros(draw(st.integers(0, 5)), dtype)
        for record in found:
            *box, record["score"], record["class_id"], record["track"] = row()
            record["box"] = box
        clip.append(found)
    return clip


@settings(deadline=None, max_examples=40)
@given(clips(), st.booleans(), st.data())
def test_laws_and_hand_over(clip: list[np.ndarray], per_class: bool, data: st.DataObject) -> None:
    whole, seen = tracker(per_class=per_class), 0
    outs = []
    for seq, found in enumerate(clip):
        out = whole.run(frame(seq), detections=found)
        outs.append(out.tobytes())
        assert len(set(out["track"])) == len(out), "one detection a track and frame"
        assert (out["track"] > 0).all()
        assert {record["box"].tobytes() for record in out} <= {record["box"].tobytes() for record in found}
        new = sorted(track for track in out["track"] if track > seen)
        assert new == list(range(seen + 1, seen + 1 + len(new))), "numbers rise without gaps"
        seen += len(new)
    cut = data.draw(st.integers(0, len(clip)))
    before, after = tracker(per_class=per_class), tracker(per_class=per_class)
    follow(before, clip[:cut])
    after.restore(before.save())
    assert [after.run(frame(seq), detections=found).tobytes() for seq, found in enumerate(clip[cut:], cut)] == outs[cut:]


@pytest.mark.parametrize("state", [b"", b"junk", b"ACES" + bytes(60)])
def test_bytes_of_another_kind_are_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match=r"state of track\.byte"):
        tracker().restore(state)


def test_a_state_that_is_not_finite_is_refused(boxes: Make) -> None:
    operator = tracker()
    follow(operator, [walk(boxes, 0)])
    operator._tracks["pp"] = np.nan
    with pytest.raises(ValueError, match="finite tracks"):
        tracker().restore(operator.save())


def test_only_detections_are_followed() -> None:
    with pytest.raises(SpecError, match="expected detections"):
        Byte().infer({"detections": RecordsSpec("points", 1)})


def test_key_points_stay_with_their_detection() -> None:
    spec = RecordsSpec("detections", 4, (), 5)
    found = np.zeros(1, spec.dtype)
    found["box"], found["score"], found["points"] = (0, 0, 10, 10), 0.9, 7
    operator = Byte()
    assert operator.infer({"detections": spec}) == {"detections": spec}
    assert run(operator, detections=found)["points"].tolist() == found["points"].tolist()
