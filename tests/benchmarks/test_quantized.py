"""What `ace quantize` makes of published models beside ONNX Runtime's own quantizer, calibrated on the same samples.

Prints a column each: SQNR on photos that neither saw, with exact 8-bit kernels, people found, and layers that stay float.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from devices.quantize import Samples, Settings, quantize
from devices.quantize.measure import Yardstick
from flow import calibration
from flow.cli import one_model

COCO = {"format": "bgr24"}
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "yolox_nano": ({**COCO, "pad": 114.0}, "coco"),
    "FastestDet": ({**COCO, "fit": "stretch", "std": (255.0,) * 3}, "coco"),
    "ultraface_RFB_320": ({"format": "rgb24", "fit": "stretch", "mean": (127.0,) * 3, "std": (128.0,) * 3}, "coco"),
    "yunet_n_320": (COCO, "coco"),
    "palm_detection_lite": ({"format": "rgb24", "align": "center", "std": (255.0,) * 3}, "sign_digits/1"),
    "hand_landmark_lite": ({"format": "rgb24", "fit": "stretch", "std": (255.0,) * 3}, "sign_digits/1"),
    "selfie_segmentation_landscape": ({"format": "rgb24", "fit": "stretch", "std": (255.0,) * 3}, "coco"),
    "face_landmark_mesh": ({"format": "rgb24", "fit": "stretch", "std": (255.0,) * 3}, "faces"),
}


def theirs(source: Path, target: Path, samples: list[dict[str, np.ndarray]]) -> None:
    """The file that ONNX Runtime's quantizer writes: QDQ, int8 weights per channel, uint8 activations, minimum and maximum."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples: Iterator[dict[str, np.ndarray]] = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._samples, None)

    model = onnx.load(source)
    if model.opset_import[0].version < 13:
        model = onnx.version_converter.convert_version(model, 13)
    plain = target.with_suffix(".float.onnx")
    onnx.save(model, plain)
    quantize_static(
        plain, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )  # fmt: skip


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_beside_onnx_runtime(benchmark: Any, data: Path, tmp_path: Path, name: str) -> None:
    pixels, folder = MODELS[name]
    source, target = data / "models" / f"{name}.onnx", tmp_path / "q.onnx"
    model = one_model.find(source, None, pixels, {})
    every = [
        {key: array.copy() for key, array in sample.items()}
        for sample in calibration.samples(model, str(data / "images" / folder), 60)
    ]  # fmt: skip
    seen, unseen = [each for at, each in enumerate(every) if at % 4], every[::4]

    def ours() -> Any:
        with Samples(dict(model.inputs), seen, len(seen)) as samples:
            return quantize(source, target, samples, Settings(threads=2), bounds=calibration.pixel_bounds(model))

    report = benchmark.pedantic(ours, rounds=1)
    theirs(source, tmp_path / "ort.onnx", seen)
    yardstick = Yardstick(onnx.load(source), unseen, threads=2)
    mine, other = (yardstick.measure(onnx.load(path)) for path in (target, tmp_path / "ort.onnx"))
    print(f"\n{name}: ACE {mine.mean_db:.1f} dB, ONNX Runtime {other.mean_db:.1f} dB, kept float: {report.kept_float or 'none'}")
    assert mine.mean_db >= other.mean_db - 1


@pytest.mark.timeout(1200)
def test_people_stay_found(benchmark: Any, data: Path, tmp_path: Path) -> None:
    """YOLOX-nano with a bar of 20 dB: at most one person fewer of 81."""
    place = Path(__file__).resolve().parents[1] / "accuracy" / "reference.py"
    spec = importlib.util.spec_from_file_location("accuracy_reference", place)
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    source, target = data / "models" / "yolox_nano.onnx", tmp_path / "q.onnx"
    model = one_model.find(source, None, MODELS["yolox_nano"][0], {})

    def ours() -> Any:
        given = calibration.samples(model, str(data / "images" / "coco"), 75)
        with Samples(dict(model.inputs), given, 75) as samples:
            settings = Settings(ranges="mse", min_sqnr_db=20, threads=2)
            return quantize(source, target, samples, settings, bounds=calibration.pixel_bounds(model))

    report = benchmark.pedantic(ours, rounds=1)
    entries = {entry["file"]: entry for entry in json.loads((data / "INDEX.json").read_text())["entries"]}
    found = dict.fromkeys((source, target), 0)
    for path in found:
        session = exact(path)
        for photo in entries["images/coco/"]["files"]:
            rows = reference.reference_yolox(cv2.imread(str(data / photo["file"])), session)
            people = [box["xyxy"] for box in photo["boxes"] if box["class_id"] == 0]
            found[path] += reference.match(rows[rows[:, 5] == 0, :4], people, (photo["width"], photo["height"]))[0]
    print(f"\npeople: float {found[source]}, uint8 {found[target]} of 81, kept float: {report.kept_float}")
    assert found[target] >= found[source] - 1


def exact(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
