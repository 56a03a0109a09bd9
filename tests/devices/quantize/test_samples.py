from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.engine import EngineError
from devices.quantize import Samples
from devices.spec import TensorSpec

SPEC = {"x": TensorSpec("float32", (2,))}


def numbers(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.full(2, number, np.float32)} for number in range(count)]


@given(count=st.integers(1, 200), limit=st.integers(1, 20))
def test_kept_samples_are_spread_evenly(count: int, limit: int) -> None:
    with Samples(SPEC, iter(numbers(count)), limit) as kept:
        found = [int(sample["x"][0]) for sample in kept]
    assert len(found) <= limit
    assert len(found) >= min(count, limit) / 2
    steps = set(np.diff(found))
    assert len(steps) <= 1
    assert found[0] == 0
    assert count - found[-1] <= (steps.pop() if steps else count)


def test_a_fifth_is_held_out() -> None:
    with Samples(SPEC, numbers(20), 20) as kept:
        calibration, held = kept.split()
    assert held == [2, 7, 12, 17]
    assert sorted(calibration + held) == list(range(20))
    with Samples(SPEC, numbers(3), 3) as kept:
        assert kept.split() == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"y": np.zeros(2, np.float32)}, "input 'x'"),
        ({"x": np.zeros(3, np.float32)}, r"float32\[2\]"),
        ({"x": np.zeros(2)}, "float64"),
        ({"x": np.float32([0, np.inf])}, "finite"),
    ],
)
def test_samples_that_do_not_fit(sample: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        Samples(SPEC, [sample], 4)


def test_no_samples_at_all() -> None:
    with pytest.raises(EngineError, match="at least one"):
        Samples(SPEC, [], 4)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Samples(SPEC, numbers(4), 4):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
