from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import RecordsSpec
from ops.boxes.geometry import overlaps
from ops.boxes.nms import Nms
from ops.contract import SpecError
from ops.testing import run

DTYPE = RecordsSpec("detections", 1).dtype
SPEC = RecordsSpec("detections", 64, ("person", "cat", "dog"))
FLOAT = st.floats(0, 60, width=32)
ROW = st.tuples(FLOAT, FLOAT, FLOAT, FLOAT, st.sampled_from((0.25, 0.5, 0.75, 0.875)), st.integers(0, 2))


@st.composite
def detections(draw: st.DrawFn) -> np.ndarray:
    found = np.zeros(draw(st.integers(0, 20)), DTYPE)
    for index, record in enumerate(found):
        x, y, w, h, score, class_id = draw(ROW)
        record["box"], record["score"], record["class_id"], record["track"] = (x, y, x + w, y + h), score, class_id, index
    return found


def nms(**config: Any) -> Nms:
    operator = Nms(Nms.Config(**config))
    operator.infer({"detections": SPEC})
    return operator


@given(detections(), st.sampled_from((0.0, 0.3, 0.45, 0.9, 1.0)), st.booleans())
def test_laws(found: np.ndarray, iou: float, per_class: bool) -> None:
    operator = nms(iou=iou, per_class=per_class)
    kept = run(operator, detections=found)
    assert (np.diff(kept["score"]) <= 0).all()
    assert len(set(kept["track"])) == len(kept)
    assert all(record.tobytes() == found[record["track"]].tobytes() for record in kept)
    clash = overlaps(kept["box"], kept["box"]) > iou
    if per_class:
        clash &= kept["class_id"][:, None] == kept["class_id"]
    assert not np.triu(clash, 1).any()
    assert run(operator, detections=kept).tobytes() == kept.tobytes()
    for lost in np.setdiff1d(np.arange(len(found)), kept["track"]):  # whatever is left out is covered by something as good
        record = found[lost : lost + 1]
        covers = (overlaps(kept["box"], record["box"])[:, 0] > iou) & (kept["score"] >= record["score"])
        assert (covers & (kept["class_id"] == record["class_id"]) if per_class else covers).any()


@given(detections())
def test_the_order_of_different_scores_does_not_matter(found: np.ndarray) -> None:
    found["score"] = np.linspace(0.9, 0.1, len(found))
    operator = nms()
    assert run(operator, detections=found[::-1]).tobytes() == run(operator, detections=found).tobytes()


def test_the_earlier_of_equals_is_kept(boxes: Callable[..., np.ndarray]) -> None:
    found = boxes((0, 0, 10, 10, 0.5, 0, 1), (0, 0, 10, 9, 0.5, 0, 2))
    assert run(nms(), detections=found)["track"].tolist() == [1]


def test_classes_suppress_each_other_only_when_told_to(boxes: Callable[..., np.ndarray]) -> None:
    found = boxes((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 10, 0.8, 2))
    assert len(run(nms(), detections=found)) == 2
    assert run(nms(per_class=False), detections=found)["class_id"].tolist() == [1]


def test_classes_left_out_suppress_nothing(boxes: Callable[..., np.ndarray]) -> None:
    found = boxes((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 2))
    assert run(nms(per_class=False, classes=["dog"]), detections=found)["class_id"].tolist() == [2]


def test_at_most_max_are_kept_and_the_spec_says_so(boxes: Callable[..., np.ndarray]) -> None:
    found = boxes(*((i * 20, 0, i * 20 + 10, 10, 0.1 * i) for i in range(9)))
    operator = Nms(Nms.Config(max=3))
    assert operator.infer({"detections": SPEC}) == {"detections": RecordsSpec("detections", 3, SPEC.labels)}
    assert run(operator, detections=found)["score"].tolist() == pytest.approx([0.8, 0.7, 0.6])


def test_boxes_without_area_neither_suppress_nor_break(boxes: Callable[..., np.ndarray]) -> None:
    found = boxes((5, 5, 5, 5, 0.9), (5, 5, 5, 5, 0.8), (9, 9, 4, 4, 0.7))
    assert len(run(nms(iou=0.0), detections=found)) == 3


def test_wrong_input_and_class() -> None:
    with pytest.raises(SpecError, match="did you mean 'dog'"):
        nms(classes=["dogs"])
    with pytest.raises(SpecError, match="port detections: expected detections"):
        Nms().infer({"detections": RecordsSpec("classes", 3)})
