from __future__ import annotations

from collections.abc import Callable

from devices.engine import ModelInfo, PixelInput
from ops.classify.image import ClassifyImage
from ops.classify.topk import TopK


def test_settings_go_to_the_last_step(make_model: Callable[..., ModelInfo]) -> None:
    model = make_model({}, PixelInput("input", 224, 224, fit="crop"))
    expansion = ClassifyImage.expand(ClassifyImage.Config(k=3, softmax=False, score=0.2), model)
    assert [step.op for step in expansion.steps.values()] == ["image.center_crop", "nn.infer", "classify.topk"]
    assert TopK.Config(**expansion.steps["topk"].config) == TopK.Config(k=3, softmax=False, score=0.2)
    assert expansion.outputs == {"classes": "topk.classes"}
    assert ClassifyImage.Config().model_dump() == TopK.Config().model_dump()
