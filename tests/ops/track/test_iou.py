from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices.spec import RecordsSpec
from ops.testing import HeapContext, frame
from ops.track.iou import Iou

Make = Callable[..., np.ndarray]
SPEC = RecordsSpec("detections", 32, ("cat", "dog"))


def tracker(**config: Any) -> Iou:
    operator = Iou(Iou.Config(**config))
    assert operator.infer({"detections": SPEC}) == {"detections": SPEC}
    operator.open(HeapContext())
    return operator


def follow(operator: Iou, frames: list[np.ndarray]) -> list[list[int]]:
    return [operator.run(frame(seq), detections=found)["track"].tolist() for seq, found in enumerate(frames)]


def test_what_overlaps_itself_keeps_its_number(boxes: Make) -> None:
    frames = [boxes((seq * 4, 0, seq * 4 + 20, 20, 0.9), (200 - seq * 4, 50, 220 - seq * 4, 70, 0.8)) for seq in range(10)]
    assert follow(tracker(), frames) == [[1, 2]] * 10
    assert frames[0]["track"].tolist() == [-1, -1], "the input is left as it was"


def test_the_best_pairing_in_all_is_taken(boxes: Make) -> None:
    frames = [boxes((0, 0, 20, 20, 0.9), (8, 0, 28, 20, 0.9)), boxes((5, 0, 25, 20, 0.9), (12, 0, 32, 20, 0.9))]
    assert follow(tracker(), frames) == [[1, 2], [1, 2]]  # greedily the first would take 2 and leave 1 to a start


@pytest.mark.parametrize(("gap", "number"), [(2, 1), (3, 2)])
def test_a_track_may_be_unseen_for_the_buffer(boxes: Make, gap: int, number: int) -> None:
    here = boxes((0, 0, 20, 20, 0.9))
    assert follow(tracker(buffer=2), [here, *[boxes()] * gap, here])[-1] == [number]


def test_too_little_overlap_starts_a_track(boxes: Make) -> None:
    frames = [boxes((0, 0, 20, 20, 0.9)), boxes((12, 0, 32, 20, 0.9))]
    assert follow(tracker(iou=0.3), frames) == [[1], [2]]
    assert follow(tracker(iou=0.2), frames) == [[1], [1]]
    apart = [boxes((0, 0, 20, 20, 0.9)), boxes((50, 0, 70, 20, 0.9))]
    assert follow(tracker(iou=0.0), apart) == [[1], [2]]


def test_weak_detections_are_left_out(boxes: Make) -> None:
    assert follow(tracker(score=0.5), [boxes((0, 0, 20, 20, 0.4), (50, 0, 70, 20, 0.6))]) == [[1]]


def test_class_holds_a_track_together_unless_told_otherwise(boxes: Make) -> None:
    frames = [boxes((0, 0, 20, 20, 0.9, 0)), boxes((0, 0, 20, 20, 0.9, 1))]
    assert follow(tracker(), frames) == [[1], [2]]
    assert follow(tracker(per_class=False), frames) == [[1], [1]]


def test_state_is_handed_over(boxes: Make) -> None:
    frames = [boxes((seq * 4, 0, seq * 4 + 20, 20, 0.9)) for seq in range(6)]
    before, after = tracker(), tracker()
    follow(before, frames[:3])
    after.restore(before.save())
    assert follow(after, [*frames[3:], boxes((300, 0, 320, 20, 0.9))]) == [[1], [1], [1], [2]]


def test_bytes_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"state of track\.iou"):
        tracker().restore(b"junk")
