"""What `ace quantize` makes of published models beside ONNX Runtime's own quantizer, calibrated on the same photos.

Run with `pytest tests/benchmarks/test_quantized.py --benchmark-only -s`; ACE_TEST_DATA names the folder of models and photos. Nothing is
measured on photos that calibration saw: the classifier is calibrated on the COCO photos, the person detector on those of ImageNet. 8-bit
kernels are exact in both engines.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

import devices
from devices.quantize import Report, Samples, Settings, quantize
from devices.quantize.execute import Runner
from devices.quantize.measure import Yardstick, compare
from devices.quantize.network import read_network
from devices.quantize.plan import Choices, Scheme
from devices.quantize.share import float_within
from flow import calibration
from flow.cli import one_model

COCO = {"format": "bgr24"}
CLASSIFIER = {"format": "rgb24", "fit": "crop", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
YOLOX = {**COCO, "pad": 114.0}
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "yolox_nano": (YOLOX, "coco"),
    "FastestDet": ({**COCO, "fit": "stretch", "std": (255.0,) * 3}, "coco"),
    "ultraface_RFB_320": ({"format": "rgb24", "fit": "stretch", "mean": (127.0,) * 3, "std": (128.0,) * 3}, "coco"),
    "yunet_n_320": (COCO, "coco"),
    "palm_detection_lite": ({"format": "rgb24", "align": "center", "std": (255.0,) * 3}, "sign_digits/1"),
    "hand_landmark_lite": ({"format": "rgb24", "fit": "stretch", "std": (255.0,) * 3}, "sign_digits/1"),
    "selfie_segmentation_landscape": ({"format": "rgb24", "fit": "stretch", "std": (255.0,) * 3}, "coco"),
    "face_landmark_mesh": ({"format": "rgb24", "fit": "stretch", "std": (255.0,) * 3}, "faces"),
}
UNSEEN = ("imagenet", "faces", "hand", *(f"sign_digits/{digit}" for digit in range(10)))
"""Folders of photos for the classifier."""

TURNS = 100
"""Runs of each model whose CPU time is compared."""

pytestmark = [pytest.mark.timeout(3000), pytest.mark.filterwarnings("ignore")]

Arrays = dict[str, np.ndarray]


def theirs(source: Path, target: Path, samples: Sequence[Arrays]) -> None:
    """The file that ONNX Runtime's quantizer writes: QDQ, int8 weights per channel, uint8 activations, minimum and maximum."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples: Iterator[Arrays] = iter(samples)

        def get_next(self) -> Arrays | None:
            return next(self._samples, None)

    model = onnx.load(source)
    if model.opset_import[0].version < 13:
        model = onnx.version_converter.convert_version(model, 13)
    plain = target.with_suffix(".float.onnx")
    onnx.save(model, plain)
    quant_pre_process(plain, plain, skip_symbolic_shape=True)
    quantize_static(
        plain, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )  # fmt: skip


def pictures(source: Path, pixels: dict[str, Any], folder: Path, most: int = 1000, resize: int | None = None) -> list[Arrays]:
    """Photos as the model's input."""
    model = one_model.find(source, None, pixels, {})
    given = calibration.samples(model, str(folder), most, resize=resize)
    return [{name: array.copy() for name, array in sample.items()} for sample in given]


def ours(source: Path, target: Path, pixels: dict[str, Any], samples: Sequence[Arrays], **settings: Any) -> Report:
    model = one_model.find(source, None, pixels, {})
    with Samples(dict(model.inputs), samples, len(samples)) as held:
        return quantize(source, target, held, Settings(threads=2, **settings), bounds=calibration.pixel_bounds(model))


def index(data: Path) -> dict[str, Any]:
    return {entry["file"]: entry for entry in json.loads((data / "INDEX.json").read_text())["entries"]}


def quantizers(source: Path, pixels: dict[str, Any], samples: Sequence[Arrays], folder: Path, **settings: Any) -> dict[str, Path]:
    """The float model, and what each quantizer writes of it, by name."""
    found = {"float32": source, "ACE": folder / "ace.onnx", "ACE, all bits": folder / "bits.onnx", "ONNX Runtime": folder / "ort.onnx"}
    for name in ("ACE", "ACE, all bits"):
        begin = time.perf_counter()
        report = ours(source, found[name], pixels, samples, pair_safe=name == "ACE", **settings)
        ways = {
            "smoothed": report.smoothed,
            "equalized": report.equalized,
            "second order": report.second_order,
            "biases": report.bias_corrected,
        }
        used = [word for word, was in ways.items() if was]
        kept = f"{len(report.kept_float)} layers float"
        print(f"{name}: {report.ranges}, {', '.join((*used, kept))}; {time.perf_counter() - begin:.0f} s")
    theirs(source, found["ONNX Runtime"], samples)
    return found


def test_a_classifier_on_photos(benchmark: Any, data: Path, tmp_path: Path) -> None:
    """MobileNetV2: at most one photo of 82 fewer right than float32; SQNR at least that of ONNX Runtime's quantizer."""
    source = data / "models" / "mobilenetv2_12_fp32_derived.onnx"
    samples = pictures(source, CLASSIFIER, data / "images" / "coco", resize=256)
    made = benchmark.pedantic(lambda: quantizers(source, CLASSIFIER, samples, tmp_path), rounds=1)
    labels = {Path(each["file"]).name: each["label"] for each in index(data)["images/imagenet/"]["files"]}
    wanted = np.array([labels[name] for name in sorted(labels)])
    photos = {folder: pictures(source, CLASSIFIER, data / "images" / folder, resize=256) for folder in UNSEEN}
    outputs = {name: classified(path, photos) for name, path in made.items()}
    real = outputs["float32"]
    print(f"\n{'MobileNetV2':14s} right of {len(wanted)}  same class of these  of others  of all  SQNR dB  file")
    right, noise = {}, {}
    for name, got in outputs.items():
        same = {folder: got[folder].argmax(1) == real[folder].argmax(1) for folder in photos}
        right[name] = int((got["imagenet"].argmax(1) == wanted).sum())
        noise[name] = ratio(real["imagenet"], got["imagenet"])
        every, others = (np.concatenate([same[folder] for folder in photos if folder not in without]) for without in ((), ("imagenet",)))
        size = 100 * (made[name].stat().st_size / source.stat().st_size - 1)
        parts = [f"{100 * part.mean():.1f} %" for part in (same["imagenet"], others, every)]
        print(f"{name:14s} {right[name]:6d}  {parts[0]:>14s}  {parts[1]:>11s}  {parts[2]:>7s}  {noise[name]:6.1f}  {size:+.1f} %")
    told, mine = (np.concatenate([*each.values()]) for each in (real, outputs["ACE"]))
    by_margin(told, mine)
    float32_with_noise(source, photos, told)
    for name in ("ACE", "ACE, all bits"):
        assert right[name] >= right["float32"] - 1
        assert noise[name] >= noise["ONNX Runtime"] - 1


MARGINS = (0.0, 0.25, 0.5, 1.0, 2.0, np.inf)
"""By how much float32's best score is above its second one."""


def by_margin(real: np.ndarray, got: np.ndarray) -> None:
    """Prints how often the class is the same where float32 itself is less and more certain."""
    ordered = np.sort(real, axis=1)
    margins, same = ordered[:, -1] - ordered[:, -2], got.argmax(1) == real.argmax(1)
    for low, high in pairwise(MARGINS):
        within = (margins >= low) & (margins < high)
        if within.any():
            print(f"margin of float32 {low:g} to {high:g}: same class {100 * same[within].mean():.1f} % of {within.sum()}")


def float32_with_noise(source: Path, photos: Mapping[str, Sequence[Arrays]], real: np.ndarray) -> None:
    """Prints how often float32 agrees with itself where each pixel is off by at most half a level, as rounding it to 8 bits does."""
    random = np.random.default_rng(0)
    level = 1 / np.array(CLASSIFIER["std"], np.float32).reshape(1, 3, 1, 1)
    noisy = {
        folder: [{name: x + random.uniform(-0.5, 0.5, x.shape).astype(np.float32) * level for name, x in each.items()} for each in group]
        for folder, group in photos.items()
    }
    got = np.concatenate([*classified(source, noisy).values()])
    print(f"float32, its pixels off by up to half a level: same class {100 * (got.argmax(1) == real.argmax(1)).mean():.1f} %")


SHARES = (0.0, 0.05, 0.1)
"""What the network may take longer for what stays float; 0: all in uint8."""


def test_layers_kept_float(benchmark: Any, data: Path, tmp_path: Path) -> None:
    """What layers and sums of MobileNetV2 that stay float do for agreement with float32, and what they cost (in CPU time and size)."""
    source = data / "models" / "mobilenetv2_12_fp32_derived.onnx"
    samples = pictures(source, CLASSIFIER, data / "images" / "coco", resize=256)
    labels = {Path(each["file"]).name: each["label"] for each in index(data)["images/imagenet/"]["files"]}
    wanted = np.array([labels[name] for name in sorted(labels)])
    photos = {folder: pictures(source, CLASSIFIER, data / "images" / folder, resize=256) for folder in UNSEEN}
    real = np.concatenate([*classified(source, photos).values()])
    bounds = calibration.pixel_bounds(one_model.find(source, None, CLASSIFIER, {}))
    made = benchmark.pedantic(lambda: kept_float(source, tmp_path, samples, bounds), rounds=1)
    sessions = {name: devices.load(path, engine="native") for name, path in made.items()}
    times = np.array([[cpu_time(session, samples[0]) for session in sessions.values()] for _ in range(TURNS)])[TURNS // 5 :]
    print(f"\n{'share: what stays float':56s} same class of {len(real)}  right of {len(wanted)}  SQNR dB  CPU time  file")
    for at, (name, path) in enumerate(made.items()):
        got = np.concatenate([*classified(path, photos).values()])
        same, size = (got.argmax(1) == real.argmax(1)).mean(), path.stat().st_size / source.stat().st_size - 1
        right = (got[: len(wanted)].argmax(1) == wanted).sum()
        cost = np.median(times[:, at] / times[:, 0])
        print(f"{name:56s} {100 * same:12.1f} %  {right:11d}  {ratio(real, got):7.1f}  {cost:8.2f}  {100 * size:+.1f} %")


def kept_float(source: Path, folder: Path, samples: Sequence[Arrays], bounds: Mapping[str, tuple[float, float]]) -> dict[str, Path]:
    """Quantized models by what stays float within `SHARES`; the other ways are those that `auto` takes for this network."""
    made: dict[str, Path] = {}
    scheme = Scheme(read_network(source), Settings(threads=2), bounds)
    scheme.observe(lambda: iter(samples), lambda: None)
    smooth = scheme.smoothed()
    assert smooth is not None
    smooth.observe(lambda: iter(samples), lambda: None)
    smooth.round(samples, lambda what, done, of: None)
    cost = smooth.cost()
    for share in SHARES:
        choices = Choices("percentile", True, second_order=True, own_ranges=True, real="sums" if share else "nothing")
        smooth.measure_values(choices, samples[::12], lambda done, of: None)
        kept = float_within(smooth.place(real=choices.real), smooth.layers, smooth.noise, cost, share - cost.sums) if share else ()
        choices = replace(choices, kept_float=kept)
        name = f"{share:g}: " + ", ".join(("sums", *kept) if share else ("nothing",))
        made[name] = folder / f"{len(made)}.onnx"
        smooth.measure_shifts(choices, samples)
        onnx.save(smooth.write(replace(choices, correct_outputs=True)).model, made[name])
    return made


def cpu_time(session: Any, sample: Arrays) -> float:
    begin = time.thread_time()
    session.run(sample)
    return time.thread_time() - begin


def classified(path: Path, photos: Mapping[str, Sequence[Arrays]]) -> Arrays:
    """Scores of all photos of each folder."""
    runner = Runner(onnx.load(path), threads=2)
    return {folder: np.concatenate([runner.run(each)["output"] for each in group]) for folder, group in photos.items()}


def ratio(real: np.ndarray, got: np.ndarray) -> float:
    return compare([({"y": real}, {"y": got})]).worst_db


PEOPLE: dict[str, tuple[str, dict[str, Any]]] = {
    "FastestDet": ("reference_fastestdet", {}),
    "yolox_nano": ("reference_yolox", {"ranges": "mse", "min_sqnr_db": 20}),
}
"""How a detector is run by the reference, and how it is quantized."""


@pytest.mark.parametrize("detector", PEOPLE)
def test_a_detector_on_people(benchmark: Any, data: Path, tmp_path: Path, detector: str) -> None:
    """People found of 81: at most one fewer than float32. SQNR at least that of ONNX Runtime's quantizer."""
    reference = the_reference()
    run, settings = PEOPLE[detector]
    source, pixels = data / "models" / f"{detector}.onnx", MODELS[detector][0]
    samples = pictures(source, pixels, data / "images" / "imagenet", most=60)
    made = benchmark.pedantic(lambda: quantizers(source, pixels, samples, tmp_path, **settings), rounds=1)
    yardstick = Yardstick(onnx.load(source), pictures(source, pixels, data / "images" / "coco"), threads=2)
    noise = {name: yardstick.measure(onnx.load(path)).worst_db for name, path in made.items()}
    found = {name: people(path, data, reference, run) for name, path in made.items()}
    print(f"\n{detector:14s} people of 81  SQNR dB  file")
    for name, path in made.items():
        print(f"{name:14s} {found[name]:8d}     {noise[name]:6.1f}   {100 * (path.stat().st_size / source.stat().st_size - 1):+.1f} %")
    assert found["ACE"] >= found["float32"] - 1
    for name in ("ACE", "ACE, all bits"):
        assert noise[name] >= noise["ONNX Runtime"] - 1


def the_reference() -> ModuleType:
    place = Path(__file__).resolve().parents[1] / "accuracy" / "reference.py"
    spec = importlib.util.spec_from_file_location("accuracy_reference", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def people(path: Path, data: Path, reference: ModuleType, run: str) -> int:
    """Labelled people that are found, with the reference's own pre- and postprocessing."""
    session, found = exact(path, 2), 0
    for photo in index(data)["images/coco/"]["files"]:
        rows = getattr(reference, run)(cv2.imread(str(data / photo["file"])), session)
        boxes = [box["xyxy"] for box in photo["boxes"] if box["class_id"] == 0]
        hits, _, _ = reference.match(rows[rows[:, 5] == 0, :4], boxes, (photo["width"], photo["height"]))
        found += hits
    return found


@pytest.mark.parametrize("name", MODELS)
def test_noise_beside_onnx_runtime(benchmark: Any, data: Path, tmp_path: Path, name: str) -> None:
    pixels, folder = MODELS[name]
    source, target = data / "models" / f"{name}.onnx", tmp_path / "q.onnx"
    every = pictures(source, pixels, data / "images" / folder, 60)
    seen, unseen = [each for at, each in enumerate(every) if at % 4], every[::4]
    report = benchmark.pedantic(lambda: ours(source, target, pixels, seen), rounds=1)
    theirs(source, tmp_path / "ort.onnx", seen)
    yardstick = Yardstick(onnx.load(source), unseen, threads=2)
    mine, other = (yardstick.measure(onnx.load(path)) for path in (target, tmp_path / "ort.onnx"))
    print(f"\n{name}: ACE {mine.mean_db:.1f} dB, ONNX Runtime {other.mean_db:.1f} dB, kept float: {report.kept_float or 'none'}")
    assert mine.mean_db >= other.mean_db - 1


def exact(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
