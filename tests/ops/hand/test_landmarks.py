from __future__ import annotations

from collections.abc import Callable

import pytest

from devices.engine import ModelInfo, PixelInput
from devices.spec import ImageSpec, ManySpec, RecordsSpec, TensorSpec, TensorsSpec
from ops import catalog
from ops.contract import Operator, SpecError
from ops.hand.landmarks import Landmarks


def test_a_crop_and_a_hand_for_each_palm(make_model: Callable[..., ModelInfo]) -> None:
    model = make_model({}, PixelInput("input_1", 224, 224, std=(255.0, 255.0, 255.0), layout="nhwc"))
    steps = Landmarks.expand(Landmarks.Config(capacity=3, score=0.7), model).steps
    assert [step.op for step in steps.values()] == ["image.rotated_crop", "nn.infer", "decode.hand_landmarks"]
    kind = catalog.find("image.rotated_crop")
    assert issubclass(kind, Operator)
    palms = RecordsSpec("detections", 8, ("palm",), 7)
    crops = kind(kind.Config(**steps["crop"].config)).infer({"image": ImageSpec(640, 480, "yuv420p"), "detections": palms})
    assert crops == {"tensors": ManySpec(TensorsSpec((("input_1", TensorSpec("float32", (1, 224, 224, 3))),)), 3)}
    assert steps["decode"].config == {"score": 0.7}


def test_a_model_is_needed() -> None:
    with pytest.raises(SpecError, match="port model"):
        Landmarks.expand(Landmarks.Config(), None)
