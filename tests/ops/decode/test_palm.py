from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.engine import PixelInput
from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.decode.palm import Palm
from ops.testing import run
from ops.value import Tensors


@pytest.fixture(scope="module")
def palm(make_model: Callable[..., Any]) -> Callable[..., Palm]:
    return lambda **config: Palm(Palm.Config(**config), make_model({}, PixelInput("input", 192, 192)))


def outputs() -> dict[str, np.ndarray]:
    return {"values": np.zeros((1, 2016, 18), np.float32), "logits": np.full((1, 2016, 1), -100, np.float32)}


def anchor(index: int) -> tuple[float, float]:
    """Centre of an anchor as MediaPipe's SsdAnchorsCalculator lays them out: cell by cell, all of a cell together."""
    cells, stride, cell = (24, 8, index // 2) if index < 1152 else (12, 16, (index - 1152) // 6)
    return (cell % cells + 0.5) * stride, (cell // cells + 0.5) * stride


@given(
    index=st.integers(0, 2015), values=st.lists(st.floats(-50, 50, width=32), min_size=18, max_size=18), logit=st.floats(0, 200, width=32)
)
def test_an_encoded_palm_is_decoded_into_the_source_frame(palm: Callable[..., Palm], index: int, values: list[float], logit: float) -> None:
    arrays = outputs()
    arrays["values"][0, index], arrays["logits"][0, index] = values, logit
    (found,) = run(palm(), tensors=Tensors(arrays, np.array([[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]])))
    centre = np.add(values[:2], anchor(index))
    half = np.array(values[2:4]) / 2
    assert found["box"] == pytest.approx(np.concatenate([centre - half, centre + half]) * 2 + (10, 20, 10, 20), abs=1e-2)
    assert found["points"] == pytest.approx((np.reshape(values[4:], (7, 2)) + anchor(index)) * 2 + (10, 20), abs=1e-2)
    assert found["score"] == pytest.approx(1 / (1 + np.exp(-min(logit, 80.0))), abs=1e-6)


@pytest.mark.parametrize(("score", "count"), [(0.0, 2016), (0.5, 3), (0.73, 2), (0.74, 1), (1.0, 0)])
def test_scores_are_compared_as_probabilities(palm: Callable[..., Palm], score: float, count: int) -> None:
    arrays = outputs()
    arrays["logits"][0, :3, 0] = 0.0, 1.0, 90.0
    assert len(run(palm(score=score, capacity=1024), tensors=Tensors(arrays))) == min(count, 1024)


def test_spec(palm: Callable[..., Palm], as_specs: Callable[..., Any]) -> None:
    assert palm().infer(as_specs(outputs())) == {"detections": RecordsSpec("detections", 256, ("palm",), 7)}


def test_outputs_of_another_model_are_refused(palm: Callable[..., Palm], as_specs: Callable[..., Any]) -> None:
    arrays = outputs() | {"logits": np.zeros((1, 2944, 1), np.float32)}
    with pytest.raises(SpecError, match="1x2016x18"):
        palm().infer(as_specs(arrays))
