from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.engine import ModelInfo, PixelInput
from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.decode.common import DetectionDecoder, boxes_to_source
from ops.decode.ultraface import UltraFace
from ops.testing import HeapContext
from ops.value import apply

PIXELS = PixelInput("input", 320, 240)
NUMBER = st.floats(-100, 100, width=32)


def decoder(make_model: Callable[..., ModelInfo], **config: Any) -> DetectionDecoder:
    operator = UltraFace(UltraFace.Config(**config), make_model({}, PIXELS))
    operator.open(HeapContext())
    return operator


@given(
    st.lists(st.tuples(NUMBER, NUMBER, st.floats(0, 50, width=32), st.floats(0, 50, width=32)), max_size=5),
    st.lists(NUMBER, min_size=6, max_size=6),
)
def test_a_mapped_box_is_the_smallest_around_its_mapped_corners(rows: list[tuple[float, ...]], numbers: list[float]) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows]).reshape(-1, 4)
    transform = np.array(numbers, float).reshape(2, 3)
    mapped = boxes_to_source(transform, boxes)
    for box, found in zip(boxes, mapped, strict=True):
        corners = apply(transform, box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2))
        assert found == pytest.approx([*corners.min(0), *corners.max(0)], abs=1e-3)


def test_scaling_and_moving_is_exact() -> None:
    transform = np.array([[2.0, 0.0, 10.0], [0.0, 4.0, 20.0]])
    assert boxes_to_source(transform, np.array([(1.0, 2.0, 3.0, 4.0)])).tolist() == [[12, 28, 16, 36]]


def test_the_best_are_kept_where_there_are_too_many(make_model: Callable[..., ModelInfo]) -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.9, 0.7])
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (5, 1)) + np.arange(5)[:, None]
    found = decoder(make_model, capacity=3).emit(np.eye(2, 3), boxes, scores, 0)
    assert found["box"][:, 0].tolist() == [1, 3, 4]
    assert found["track"].tolist() == [-1, -1, -1]


def test_what_is_not_finite_is_left_out(make_model: Callable[..., ModelInfo]) -> None:
    boxes = np.array([(0, 0, np.inf, 1), (0, 0, 1, 1), (np.nan, 0, 1, 1), (0, 0, 2, 2)])
    for capacity, kept in ((4, [1, 2]), (1, [2])):
        found = decoder(make_model, capacity=capacity).emit(np.eye(2, 3), boxes, np.array([0.9, 0.1, 0.8, 0.2]), 0)
        assert found["box"][:, 2].tolist() == kept


def test_labels_are_the_models_or_the_decoders(make_model: Callable[..., ModelInfo]) -> None:
    assert decoder(make_model).spec == RecordsSpec("detections", 256, ("face",))
    assert UltraFace(None, make_model({}, PIXELS, ["visage"])).spec.labels == ("visage",)


def test_a_model_without_pixels_is_refused(make_model: Callable[..., ModelInfo]) -> None:
    with pytest.raises(SpecError, match="port model: expected a model with an `input` section, got model model without one"):
        _ = UltraFace(None, make_model()).pixels
    with pytest.raises(SpecError, match="got no model"):
        _ = UltraFace().pixels
