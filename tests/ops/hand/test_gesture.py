from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from devices.engine import ModelInfo
from devices.spec import TensorSpec
from ops.hand.gesture import Gesture


def test_the_features_are_called_as_the_model_calls_its_input(make_model: Callable[..., ModelInfo]) -> None:
    model = replace(make_model(), inputs=(("points", TensorSpec("float32", (1, 42))),))
    expansion = Gesture.expand(Gesture.Config(), model)
    assert [step.op for step in expansion.steps.values()] == ["hand.features", "nn.infer", "decode.class_ids"]
    assert expansion.steps["features"].config == {"tensor": "points"}
    assert expansion.outputs == {"classes": "decode.classes"}
