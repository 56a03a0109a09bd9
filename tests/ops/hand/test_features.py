from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import RecordsSpec, TensorSpec, TensorsSpec
from ops.contract import SpecError
from ops.hand.features import Features
from ops.testing import HeapContext, run

SPEC = RecordsSpec("landmarks", 1, (), 21)


def opened(tensor: str = "input") -> Features:
    operator = Features(Features.Config(tensor=tensor))
    assert operator.infer({"landmarks": SPEC}) == {"tensors": TensorsSpec(((tensor, TensorSpec("float32", (1, 42))),))}
    operator.open(HeapContext())
    return operator


def hand(points: np.ndarray) -> np.ndarray:
    record = np.zeros(1, SPEC.dtype)
    record["points"][0, :, :2] = points
    return record


POINTS = st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500)), min_size=21, max_size=21).map(
    lambda points: np.array(points, float)
)


@given(POINTS, st.integers(-1000, 1000), st.sampled_from((0.5, 1.0, 4.0)))
def test_neither_place_nor_size_matters(points: np.ndarray, shift: int, size: float) -> None:
    operator = opened("x")
    plain = run(operator, landmarks=hand(points)).arrays["x"]
    assert run(operator, landmarks=hand(points * size + shift)).arrays["x"] == pytest.approx(plain, abs=1e-4)
    assert plain.shape == (1, 42)
    assert plain[0, :2].tolist() == [0, 0]
    assert np.abs(plain).max() == pytest.approx(1 if np.ptp(points, 0).any() and (points != points[0]).any() else 0)


def test_values_of_a_known_hand() -> None:
    points = np.zeros((21, 2)) + 10
    points[1], points[2] = (30, 0), (10, 5)
    found = run(opened(), landmarks=hand(points)).arrays["input"][0]
    assert found[:6].tolist() == [0, 0, 1, -0.5, 0, -0.25]


def test_no_hand_gives_no_result() -> None:
    assert run(opened(), landmarks=np.empty(0, SPEC.dtype)) is None


def test_one_hand_at_a_time() -> None:
    with pytest.raises(SpecError, match="one hand a value"):
        Features().infer({"landmarks": RecordsSpec("landmarks", 2, (), 21)})
