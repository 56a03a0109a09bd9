from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from devices.engine import ModelInfo, PixelInput
from ops import catalog
from ops.contract import Composite, Operator, SpecError

DETECTORS = ("yolox", "fastestdet", "ultraface", "yunet", "palm")


@pytest.fixture(scope="module")
def model(make_model: Callable[..., ModelInfo]) -> ModelInfo:
    return make_model({}, PixelInput("images", 96, 64, "bgr24", pad=114.0))


def expand(name: str, model: ModelInfo | None, **config: Any) -> Any:
    kind = catalog.find(f"detect.{name}")
    assert issubclass(kind, Composite)
    return kind.expand(kind.Config(**config), model)


@pytest.mark.parametrize("name", DETECTORS)
def test_steps_exist_fit_together_and_take_their_settings(name: str, model: ModelInfo) -> None:
    expansion = expand(name, model)
    assert list(expansion.steps) == ["letterbox", "infer", "decode", "nms"]
    assert expansion.steps["decode"].op == f"decode.{name}"
    kinds = {step: catalog.find(value.op) for step, value in expansion.steps.items()}
    for step, value in expansion.steps.items():
        kind = kinds[step]
        assert issubclass(kind, Operator)
        kind.Config(**value.config)
        assert value.model == kind.needs_model
        for port, source in value.inputs.items():
            assert port in kind.inputs
            if source != "$image":
                before, _, output = source.partition(".")
                assert set(kinds[before].outputs[output].kinds) & set(kind.inputs[port].kinds)
    assert expansion.outputs == {"detections": "nms.detections"}


@pytest.mark.parametrize("name", DETECTORS)
def test_defaults_are_those_of_the_decoder(name: str) -> None:
    detector, decoder = catalog.find(f"detect.{name}").Config(), catalog.find(f"decode.{name}").Config()
    assert detector.score == decoder.score  # type: ignore[attr-defined]
    assert detector.capacity == decoder.capacity  # type: ignore[attr-defined]


def test_settings_stay_out_of_what_is_shared(model: ModelInfo) -> None:
    one = expand("yolox", model)
    other = expand("yolox", model, score=0.1, iou=0.6, classes=["cat"], per_class=False, max=7, capacity=9)
    assert one.steps["letterbox"] == other.steps["letterbox"]
    assert one.steps["infer"] == other.steps["infer"]
    assert other.steps["decode"].config == {"score": 0.1, "capacity": 9}
    assert other.steps["nms"].config == {"iou": 0.6, "per_class": False, "classes": frozenset({"cat"}), "max": 7}


def test_a_model_is_needed_and_must_have_pixels(make_model: Callable[..., ModelInfo]) -> None:
    with pytest.raises(SpecError, match="port model: expected a model, got none"):
        expand("yolox", None)
    with pytest.raises(SpecError, match="port model"):
        expand("yolox", make_model())
