"""What `ace quantize` writes of published models, against their float originals, on real photos that calibration did not see.

The classifier is calibrated on the COCO photos and measured on the labelled ones, the person detector the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

import devices
from devices.quantize import Report, Samples, Settings, quantize
from devices.quantize.measure import compare
from flow import calibration
from flow.cli import one_model

CLASSIFIER = {"format": "rgb24", "fit": "crop", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
DETECTOR = {"format": "bgr24", "fit": "stretch", "std": (255.0,) * 3}
QUICK: dict[str, Any] = {
    "ranges": "percentile",
    "smooth": "on",
    "equalize": "off",
    "correct_bias": "off",
    "second_order": "off",
    "keep_float": (),
}

Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def index(data: Path) -> dict[str, Any]:
    return {entry["file"]: entry for entry in json.loads((data / "INDEX.json").read_text())["entries"]}


def made(source: Path, target: Path, pixels: dict[str, Any], photos: Path, most: int, resize: int | None = None) -> Report:
    model = one_model.find(source, None, pixels, {})
    given = calibration.samples(model, str(photos), most, resize=resize)
    with Samples(dict(model.inputs), given, most) as held:
        return quantize(source, target, held, Settings(**QUICK), bounds=calibration.pixel_bounds(model))


def runs(path: Path, inputs: list[dict[str, np.ndarray]], engine: str = "onnxruntime") -> list[Arrays]:
    session = devices.load(path, engine=engine, precision="exact")
    try:
        return [{name: array.copy() for name, array in session.run(each).items()} for each in inputs]
    finally:
        session.close()


def test_photos_stay_right(data: Path, index: dict[str, Any], tmp_path: Path) -> None:
    """At most one photo fewer is right, at least 95 % are of the same class, and both engines give the same."""
    source, target = data / "models" / "mobilenetv2_12_fp32_derived.onnx", tmp_path / "q.onnx"
    report = made(source, target, CLASSIFIER, data / "images" / "coco", 75, resize=256)
    model = one_model.find(source, None, CLASSIFIER, {})
    photos = calibration.samples(model, str(data / "images" / "imagenet"), 1000, resize=256)
    inputs = [{name: array.copy() for name, array in sample.items()} for sample in photos]
    labels = {Path(each["file"]).name: each["label"] for each in index["images/imagenet/"]["files"]}
    told, got = runs(source, inputs), runs(target, inputs)
    real, found = (np.array([each["output"].argmax() for each in results]) for results in (told, got))
    right = [int((each == [labels[name] for name in sorted(labels)]).sum()) for each in (real, found)]
    accuracy = compare(zip(told, got, strict=True))
    same = float((real == found).mean())
    print(f"right: float {right[0]}, uint8 {right[1]} of {len(real)}; same class {100 * same:.1f} %; {accuracy.worst_db:.1f} dB")
    assert len(real) == len(labels)
    assert right[1] >= right[0] - 1
    assert same >= 0.95
    assert accuracy.worst_db > 18
    assert report.bytes_after < 0.28 * report.bytes_before
    assert report.kept_float == ()
    ours = runs(target, inputs[:8], "native")
    assert [each["output"].argmax() for each in ours] == [each["output"].argmax() for each in got[:8]]


def test_people_stay_found(data: Path, index: dict[str, Any], reference: ModuleType, tmp_path: Path) -> None:
    """FastestDet finds at most one person fewer."""
    source, target = data / "models" / "FastestDet.onnx", tmp_path / "q.onnx"
    made(source, target, DETECTOR, data / "images" / "imagenet", 30)
    found = dict.fromkeys((source, target), 0)
    for path in found:
        model = reference.session(path)
        for photo in index["images/coco/"]["files"]:
            rows = reference.reference_fastestdet(cv2.imread(str(data / photo["file"])), model)
            people = [box["xyxy"] for box in photo["boxes"] if box["class_id"] == 0]
            found[path] += reference.match(rows[rows[:, 5] == 0, :4], people, (photo["width"], photo["height"]))[0]
    print(f"people: float {found[source]}, uint8 {found[target]} of 81")
    assert found[target] >= found[source] - 1
