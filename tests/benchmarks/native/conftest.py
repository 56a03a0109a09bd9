from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.quantize import Samples, Settings, quantize
from flow import calibration
from flow.cli import one_model

CLASSIFIER = {"format": "rgb24", "fit": "crop", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@pytest.fixture(scope="session")
def quantized(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 as `ace quantize` writes it, with fewer photos: what it is calibrated on changes no time."""
    source, target = data / "models" / "mobilenetv2_12_fp32_derived.onnx", tmp_path_factory.mktemp("quantized") / "mobilenetv2.onnx"
    model = one_model.find(source, None, CLASSIFIER, {})
    given = calibration.samples(model, str(data / "images" / "coco"), 30, resize=256)
    quick: Any = {"ranges": "percentile", "smooth": "on", "equalize": "off", "correct_bias": "on", "second_order": "off"}
    with Samples(dict(model.inputs), given, 30) as held:
        quantize(source, target, held, Settings(threads=2, **quick), bounds=calibration.pixel_bounds(model))
    return target


@pytest.fixture
def run(benchmark: Any) -> Callable[..., Any]:
    """Does something once, as a benchmark."""
    return lambda work: benchmark.pedantic(work, rounds=1)
