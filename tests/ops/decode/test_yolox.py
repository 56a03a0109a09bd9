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
from ops.decode.yolox import Yolox
from ops.testing import run
from ops.value import Tensors

PIXELS = PixelInput("images", 96, 64)
CELLS = 12 * 8 + 6 * 4 + 3 * 2
SHIFT = np.array([[2.0, 0.0, 5.0], [0.0, 2.0, -3.0]])


def nothing() -> np.ndarray:
    return np.zeros((1, CELLS, 8), np.float32)


def put(output: np.ndarray, stride: int, column: int, row: int, box: Any, objectness: float, classes: Any) -> None:
    """Writes what the network would say of `box` (model pixels) into one cell."""
    start = {8: 0, 16: 96, 32: 120}[stride]
    x1, y1, x2, y2 = box
    cell = output[0, start + row * (96 // stride) + column]
    cell[:2] = (x1 + x2) / 2 / stride - column, (y1 + y2) / 2 / stride - row
    cell[2:4] = np.log((x2 - x1) / stride), np.log((y2 - y1) / stride)
    cell[4], cell[5:] = objectness, classes


@pytest.fixture(scope="module")
def yolox(make_model: Callable[..., Any]) -> Callable[..., Yolox]:
    return lambda **config: Yolox(Yolox.Config(**config), make_model({}, PIXELS, ("person", "cat", "dog")))


@given(data=st.data())
def test_an_encoded_box_is_decoded_into_the_source_frame(yolox: Callable[..., Yolox], data: st.DataObject) -> None:
    stride = data.draw(st.sampled_from((8, 16, 32)))
    column, row = data.draw(st.integers(0, 96 // stride - 1)), data.draw(st.integers(0, 64 // stride - 1))
    x, y = data.draw(st.floats(-20, 100, width=32)), data.draw(st.floats(-20, 60, width=32))
    w, h = data.draw(st.floats(1, 90, width=32)), data.draw(st.floats(1, 60, width=32))
    output = nothing()
    put(output, stride, column, row, (x, y, x + w, y + h), 0.9, (0.1, 0.2, 0.8))
    (found,) = run(yolox(), tensors=Tensors({"output": output}, SHIFT))
    assert found["box"] == pytest.approx([2 * x + 5, 2 * y - 3, 2 * (x + w) + 5, 2 * (y + h) - 3], abs=1e-2)
    assert found["score"] == pytest.approx(0.72)
    assert (found["class_id"], found["track"]) == (2, -1)


@pytest.mark.parametrize(("objectness", "classes", "count"), [(0.5, 1.0, 1), (1.0, 0.5, 1), (0.49, 1.0, 0), (1.0, 0.49, 0), (0.7, 0.7, 0)])
def test_the_score_is_objectness_times_class(yolox: Callable[..., Yolox], objectness: float, classes: float, count: int) -> None:
    output = nothing()
    put(output, 8, 1, 1, (0, 0, 8, 8), objectness, (classes, 0, 0))
    assert len(run(yolox(score=0.5), tensors=Tensors({"output": output}))) == count


def test_a_broken_output_gives_nothing_that_is_not_finite(yolox: Callable[..., Yolox]) -> None:
    output = nothing()
    output[0, :3, 4:] = 1.0
    output[0, 0, 2], output[0, 1, 0], output[0, 2, 4] = 500, np.nan, np.nan
    assert len(run(yolox(), tensors=Tensors({"output": output}))) == 0


def test_spec(yolox: Callable[..., Yolox], as_specs: Callable[..., Any]) -> None:
    expected = RecordsSpec("detections", 9, ("person", "cat", "dog"))
    assert yolox(capacity=9).infer(as_specs({"output": nothing()})) == {"detections": expected}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"output": np.zeros((1, CELLS + 1, 8), np.float32)}, f"expected float32\\[1x{CELLS}x"),
        ({"output": np.zeros((1, 8, CELLS), np.float32)}, "raw grids of YOLOX at 96x64"),
        ({"output": np.zeros((1, CELLS, 85), np.float32)}, "expected 3 classes"),
        ({"a": nothing(), "b": nothing()}, "expected one tensor"),
    ],
)
def test_outputs_of_another_model_are_refused(yolox: Callable[..., Yolox], as_specs: Callable[..., Any], arrays: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        yolox().infer(as_specs(arrays))


def test_a_port_that_carries_no_tensors(yolox: Callable[..., Yolox]) -> None:
    with pytest.raises(SpecError, match="port tensors: expected tensors"):
        yolox().infer({"tensors": RecordsSpec("points", 1)})
