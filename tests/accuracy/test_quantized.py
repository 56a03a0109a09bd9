"""What `ace quantize` writes of a published classifier, against its float original, on real photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import devices
from devices.quantize import Samples, Settings, quantize
from devices.quantize.measure import compare
from flow import calibration
from flow.cli import one_model

PHOTOS = {
    "format": "rgb24", "fit": "crop", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375),
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(data: Path) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """All labelled photos as the model's input, and their labels."""
    entries = {entry["file"]: entry for entry in json.loads((data / "INDEX.json").read_text())["entries"]}
    labels = {Path(each["file"]).name: each["label"] for each in entries["images/imagenet/"]["files"]}
    model = one_model.find(data / "models" / "mobilenetv2_12_fp32_derived.onnx", None, PHOTOS, {})
    found = [
        {name: array.copy() for name, array in sample.items()}
        for sample in calibration.samples(model, str(data / "images" / "imagenet"), 1000, resize=256)
    ]
    return found, np.array([labels[name] for name in sorted(labels)])


def test_photos_stay_right(data: Path, photos: tuple[list[dict[str, np.ndarray]], np.ndarray], tmp_path: Path) -> None:
    """At most one photo fewer is right; both engines give the same classes."""
    inputs, labels = photos
    source, target = data / "models" / "mobilenetv2_12_fp32_derived.onnx", tmp_path / "q.onnx"
    quick = Settings(ranges="percentile", smooth="off", equalize="off", correct_bias="off", keep_float=())
    with Samples(dict(devices.inspect(source).inputs), inputs[::2], len(inputs)) as samples:
        report = quantize(source, target, samples, quick)
    told, got = runs(source, inputs), runs(target, inputs)
    right = [int((np.array([each["output"].argmax() for each in results]) == labels).sum()) for results in (told, got)]
    accuracy = compare(zip(told, got, strict=True))
    print(f"right: float {right[0]}, uint8 {right[1]} of {len(labels)}; {accuracy}; {report.bytes_before} -> {report.bytes_after} bytes")
    assert right[1] >= right[0] - 1
    assert accuracy.worst_db > 15
    assert report.bytes_after < 0.28 * report.bytes_before
    ours = runs(target, inputs[:8], "native")
    assert [each["output"].argmax() for each in ours] == [each["output"].argmax() for each in got[:8]]


def runs(path: Path, inputs: list[dict[str, np.ndarray]], engine: str = "onnxruntime") -> list[Mapping[str, np.ndarray]]:
    session = devices.load(path, engine=engine, precision="exact")
    try:
        run: Callable[..., dict[str, np.ndarray]] = session.run
        return [{name: array.copy() for name, array in run(each).items()} for each in inputs]
    finally:
        session.close()
