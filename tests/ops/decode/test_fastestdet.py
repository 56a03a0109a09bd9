from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.engine import PixelInput
from ops.contract import SpecError
from ops.decode.fastestdet import FastestDet
from ops.testing import run
from ops.value import Tensors

COLUMNS, ROWS = 6, 4
PIXELS = PixelInput("images", 96, 64, fit="stretch")


@pytest.fixture(scope="module")
def fastestdet(make_model: Callable[..., Any]) -> Callable[..., FastestDet]:
    return lambda **config: FastestDet(FastestDet.Config(**config), make_model({}, PIXELS, ("person", "cat", "dog")))


def cell(column: int, row: int, values: Any) -> Tensors:
    output = np.zeros((1, 8, ROWS, COLUMNS), np.float32)
    output[0, :, row, column] = values
    return Tensors({"output": output}, np.array([[10.0, 0.0, 0.0], [0.0, 5.0, 0.0]]))


@given(
    column=st.integers(0, COLUMNS - 1), row=st.integers(0, ROWS - 1),
    offsets=st.tuples(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9)), size=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
)  # fmt: skip
def test_an_encoded_box_is_decoded_into_the_source_frame(
    fastestdet: Callable[..., FastestDet], column: int, row: int, offsets: tuple[float, float], size: tuple[float, float]
) -> None:
    logits = np.log(np.array(size) / (1 - np.array(size)))
    (found,) = run(fastestdet(), tensors=cell(column, row, [0.9, *np.arctanh(offsets), *logits, 0.1, 0.8, 0.2]))
    centre = np.array([(column + offsets[0]) / COLUMNS * 960, (row + offsets[1]) / ROWS * 320])
    half = np.array(size) * (960, 320) / 2
    assert found["box"] == pytest.approx([*(centre - half), *(centre + half)], abs=0.05)
    assert found["score"] == pytest.approx(0.9**0.6 * 0.8**0.4)
    assert found["class_id"] == 1


@pytest.mark.parametrize(("objectness", "best", "count"), [(1.0, 0.18, 1), (1.0, 0.17, 0), (0.32, 1.0, 1), (0.31, 1.0, 0)])
def test_the_score_weighs_objectness_and_class(fastestdet: Callable[..., FastestDet], objectness: float, best: float, count: int) -> None:
    assert len(run(fastestdet(score=0.5), tensors=cell(2, 2, [objectness, 0, 0, 0, 0, best, 0, 0]))) == count


def test_extreme_values_neither_warn_nor_come_out(fastestdet: Callable[..., FastestDet]) -> None:
    found = run(fastestdet(), tensors=cell(2, 2, [1, 0, 0, -1e4, 1e4, 1, 0, 0]))
    assert np.isfinite(found["box"]).all()
    assert len(run(fastestdet(), tensors=cell(2, 2, [1, np.nan, 0, 0, 0, 1, 0, 0]))) == 0


@pytest.mark.parametrize("shape", [(1, 8, 4), (2, 8, 4, 6), (1, 5, 4, 6), (1, 9, 4, 6)])
def test_outputs_of_another_model_are_refused(fastestdet: Callable[..., FastestDet], as_specs: Callable[..., Any], shape: Any) -> None:
    with pytest.raises(SpecError, match="port tensors: expected"):
        fastestdet().infer(as_specs({"output": np.zeros(shape, np.float32)}))
