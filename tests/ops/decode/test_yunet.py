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
from ops.decode.yunet import PARTS, YuNet
from ops.testing import run
from ops.value import Tensors


@pytest.fixture(scope="module")
def yunet(make_model: Callable[..., Any]) -> YuNet:
    return YuNet(None, make_model({}, PixelInput("input", 96, 64)))


def outputs() -> dict[str, np.ndarray]:
    return {f"{part}_{s}": np.zeros((1, (96 // s) * (64 // s), size), np.float32) for part, size in PARTS.items() for s in (8, 16, 32)}


@given(data=st.data())
def test_an_encoded_face_is_decoded_into_the_source_frame(yunet: YuNet, data: st.DataObject) -> None:
    stride = data.draw(st.sampled_from((8, 16, 32)))
    column, row = data.draw(st.integers(0, 96 // stride - 1)), data.draw(st.integers(0, 64 // stride - 1))
    number = st.floats(-3, 3, width=32)
    box, points = data.draw(st.lists(number, min_size=4, max_size=4)), data.draw(st.lists(number, min_size=10, max_size=10))
    arrays, cell, place = outputs(), row * (96 // stride) + column, np.array((column, row))
    arrays[f"cls_{stride}"][0, cell], arrays[f"obj_{stride}"][0, cell] = 0.9, 0.81
    arrays[f"bbox_{stride}"][0, cell], arrays[f"kps_{stride}"][0, cell] = box, points
    (found,) = run(yunet, tensors=Tensors(arrays, np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 2.0]])))
    centre = (box[:2] + place) * stride
    half = np.exp(box[2:]) * stride / 2
    corners = np.array([centre - half, centre + half]) * (2, 3) + (1, 2)
    assert found["box"] == pytest.approx(corners.ravel(), abs=0.02)
    assert found["points"] == pytest.approx((np.reshape(points, (5, 2)) + place) * stride * (2, 3) + (1, 2), abs=0.02)
    assert found["score"] == pytest.approx(np.sqrt(0.9 * 0.81))


def test_faces_of_all_strides_come_together(yunet: YuNet) -> None:
    arrays = outputs()
    for stride in (8, 16, 32):
        arrays[f"cls_{stride}"][0, 0] = arrays[f"obj_{stride}"][0, 0] = 1
        arrays[f"cls_{stride}"][0, 1] = arrays[f"obj_{stride}"][0, 1] = 0.69
    assert len(run(yunet, tensors=Tensors(arrays))) == 3


def test_spec(yunet: YuNet, as_specs: Callable[..., Any]) -> None:
    assert yunet.infer(as_specs(outputs())) == {"detections": RecordsSpec("detections", 256, ("face",), 5)}


def test_outputs_of_another_model_are_refused(yunet: YuNet, as_specs: Callable[..., Any]) -> None:
    arrays = outputs()
    del arrays["kps_16"]
    with pytest.raises(SpecError, match=r"expected kps_16: float32\[1x24x10\]"):
        yunet.infer(as_specs(arrays))
