from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices.engine import PixelInput
from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.decode.ultraface import UltraFace
from ops.testing import run
from ops.value import Tensors


@pytest.fixture(scope="module")
def ultraface(make_model: Callable[..., Any]) -> UltraFace:
    return UltraFace(None, make_model({}, PixelInput("input", 320, 240, fit="stretch")))


def outputs() -> dict[str, np.ndarray]:
    scores, boxes = np.zeros((1, 50, 2), np.float32), np.zeros((1, 50, 4), np.float32)
    scores[0, :, 0] = 1
    scores[0, [7, 8, 9], 1] = 0.95, 0.69, 0.7
    boxes[0, 7], boxes[0, 9] = (0.1, 0.2, 0.3, 0.5), (-0.1, 0, 0.5, 1)
    return {"scores": scores, "boxes": boxes}


@pytest.mark.parametrize("order", [("scores", "boxes"), ("boxes", "scores")])
def test_boxes_are_parts_of_the_picture(ultraface: UltraFace, order: tuple[str, str]) -> None:
    arrays = outputs()
    stretched = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])  # a source of 640 x 480
    found = run(ultraface, tensors=Tensors({name: arrays[name] for name in order}, stretched))
    assert found["box"] == pytest.approx(np.array([(64, 96, 192, 240), (-64, 0, 320, 480)]), abs=1e-3)
    assert found["score"] == pytest.approx([0.95, 0.7])


def test_spec(ultraface: UltraFace, as_specs: Callable[..., Any]) -> None:
    assert ultraface.infer(as_specs(outputs())) == {"detections": RecordsSpec("detections", 256, ("face",))}


@pytest.mark.parametrize("arrays", [{}, {"scores": np.zeros((1, 50, 2))}, {"scores": np.zeros((1, 50, 2)), "boxes": np.zeros((1, 49, 4))}])
def test_outputs_of_another_model_are_refused(ultraface: UltraFace, as_specs: Callable[..., Any], arrays: Any) -> None:
    with pytest.raises(SpecError, match="export with post-processing"):
        ultraface.infer(as_specs(arrays))
