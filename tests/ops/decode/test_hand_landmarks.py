from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.decode.hand_landmarks import HandLandmarks
from ops.testing import run
from ops.value import Tensors


def outputs(presence: float = 0.9) -> dict[str, np.ndarray]:
    points = np.arange(63, dtype=np.float32).reshape(1, 63)
    return {
        "points": points,
        "presence": np.full((1, 1), presence, np.float32),
        "handedness": np.full((1, 1), 0.25, np.float32),
        "world": np.zeros((1, 63), np.float32),
    }


def test_points_go_to_the_source_frame_and_depth_keeps_their_scale() -> None:
    turned = np.array([[0.0, -2.0, 100.0], [2.0, 0.0, 50.0]])  # a quarter turn, twice the size
    (hand,) = run(HandLandmarks(), tensors=Tensors(outputs(), turned))
    assert hand["points"][1] == pytest.approx([100 - 2 * 4, 50 + 2 * 3, 2 * 5])
    assert (hand["score"], hand["handedness"]) == (np.float32(0.9), np.float32(0.25))


@pytest.mark.parametrize(("presence", "count"), [(0.5, 1), (0.49, 0), (float("nan"), 0)])
def test_a_crop_without_a_hand_gives_no_record(presence: float, count: int) -> None:
    assert len(run(HandLandmarks(), tensors=Tensors(outputs(presence)))) == count


def test_spec(as_specs: Callable[..., Any]) -> None:
    assert HandLandmarks().infer(as_specs(outputs())) == {"landmarks": RecordsSpec("landmarks", 1, (), 21)}


def test_outputs_of_another_model_are_refused(as_specs: Callable[..., Any]) -> None:
    arrays = outputs() | {"points": np.zeros((1, 64), np.float32)}
    with pytest.raises(SpecError, match="as the hand landmark model has them"):
        HandLandmarks().infer(as_specs(arrays))
