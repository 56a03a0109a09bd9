from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.labels import Chosen

SPEC = RecordsSpec("detections", 8, ("person", "cat", "dog"))


def test_no_names_choose_everything(boxes: Callable[..., np.ndarray]) -> None:
    found = boxes((0, 0, 1, 1, 0.5, 0), (0, 0, 1, 1, 0.5, 7))
    assert Chosen(()).of(found) is found


def test_names_choose_their_classes(boxes: Callable[..., np.ndarray]) -> None:
    chosen = Chosen(("dog", "cat"))
    chosen.learn(SPEC, "detections")
    found = boxes((0, 0, 1, 1, 0.1, 0), (0, 0, 1, 1, 0.2, 1), (0, 0, 1, 1, 0.3, 2), (0, 0, 1, 1, 0.4, 1))
    assert chosen.of(found)["class_id"].tolist() == [1, 2, 1]


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"port boxes: expected a class among person, cat, dog, got 'catt' \(did you mean 'cat'\?\)"):
        Chosen(("catt",)).learn(SPEC, "boxes")


def test_names_need_named_classes() -> None:
    with pytest.raises(SpecError, match="give the Model `labels` that include 'cat'"):
        Chosen(("cat",)).learn(RecordsSpec("detections", 8), "detections")
