from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from devices.spec import RecordsSpec
from ops.boxes.filter import Filter
from ops.contract import SpecError
from ops.testing import run

SPEC = RecordsSpec("detections", 8, ("cat", "dog"))


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({}, [0, 1, 2]),
        ({"classes": ["dog"]}, [1]),
        ({"score": 0.5}, [1, 2]),
        ({"min_area": 100}, [0, 2]),
        ({"max_area": 100}, [0, 1]),
        ({"zone": [(0, 0), (50, 0), (50, 12), (0, 12)]}, [0, 1]),
        ({"zone": [(0, 0), (50, 0), (50, 16), (0, 16)], "anchor": "center"}, [0, 1, 2]),
        ({"zone": [(0, 0), (50, 0), (50, 12), (0, 12)], "score": 0.5}, [1]),
    ],
)
def test_every_condition_must_be_met(boxes: Callable[..., np.ndarray], config: dict[str, Any], kept: list[int]) -> None:
    found = boxes((0, 0, 10, 10, 0.4, 0, 0), (20, 0, 25, 5, 0.5, 1, 1), (30, 0, 40, 30, 0.6, 0, 2))
    operator = Filter(Filter.Config(**config))
    assert operator.infer({"detections": SPEC}) == {"detections": SPEC}
    assert run(operator, detections=found)["track"].tolist() == kept


def test_nothing_comes_of_nothing(boxes: Callable[..., np.ndarray]) -> None:
    assert len(run(Filter(Filter.Config(zone=((0, 0), (9, 0), (9, 9)))), detections=boxes())) == 0


def test_a_zone_needs_three_points() -> None:
    with pytest.raises(ValidationError, match="at least 3"):
        Filter.Config(zone=((0, 0), (1, 1)))


def test_a_wrong_class() -> None:
    with pytest.raises(SpecError, match="did you mean 'cat'"):
        Filter(Filter.Config(classes=frozenset({"cta"}))).infer({"detections": SPEC})
