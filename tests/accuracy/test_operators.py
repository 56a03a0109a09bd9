"""The decoders and suppression against the plain loops, on real photos and models, over the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from devices.engine import ModelInfo, PixelInput
from devices.spec import TensorSpec, TensorsSpec
from ops import catalog
from ops.contract import Operator
from ops.testing import run
from ops.value import Tensors

PHOTOS = ("coco/train2017_000000000074", "coco/val2017_000000001268", "coco/val2017_000000002261", "faces/6", "faces/13")


def pixels_of(reference: ModuleType, fit: Any, width: int, height: int, bgr: np.ndarray, **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixels at the model's size, and their transform."""
    if fit == "stretch":
        pixels = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_LINEAR)
        return pixels, np.array([[bgr.shape[1] / width, 0.0, 0.0], [0.0, bgr.shape[0] / height, 0.0]])
    pixels, (x, y), (left, top) = reference.letterboxed(bgr, width, height, **how)
    return pixels, np.array([[1 / x, 0.0, -left / x], [0.0, 1 / y, -top / y]])


@pytest.mark.parametrize(
    ("name", "file", "pixels", "how"),
    [
        ("yolox", "yolox_nano", PixelInput("images", 416, 416, "bgr24"), {"pad": 114}),
        ("fastestdet", "FastestDet", PixelInput("input.1", 352, 352, "bgr24", fit="stretch", std=(255.0,)), {}),
        ("ultraface", "ultraface_RFB_320", PixelInput("input", 320, 240, fit="stretch", mean=(127.0,), std=(128.0,)), {}),
        ("yunet", "yunet_n_320", PixelInput("input", 320, 320, "bgr24"), {"pad": 0}),
        ("palm", "palm_detection_lite", PixelInput("input_1", 192, 192, std=(255.0,), layout="nhwc"), {"pad": 0, "center": True}),
    ],
)
def test_box_for_box(data: Path, reference: ModuleType, name: str, file: str, pixels: PixelInput, how: dict[str, Any]) -> None:
    session = reference.session(data / "models" / f"{file}.onnx")
    plain: Callable[..., Any] = getattr(reference, f"reference_{name}")
    outputs = tuple((output.name, TensorSpec("float32", tuple(output.shape))) for output in session.get_outputs())
    model = ModelInfo(file, "1", Path(), "", (), outputs, (), pixels)
    kind, suppress = catalog.find(f"decode.{name}"), catalog.find("boxes.nms")
    assert issubclass(kind, Operator)
    assert issubclass(suppress, Operator)
    detector = catalog.find(f"detect.{name}").Config()
    decode, nms = kind(None, model), suppress(suppress.Config(iou=detector.iou))  # type: ignore[attr-defined]
    nms.infer(decode.infer({"tensors": TensorsSpec(outputs)}))
    found = 0
    for photo in PHOTOS:
        bgr = cv2.imread(str(data / "images" / f"{photo}.jpg"))
        array, transform = pixels_of(reference, pixels.fit, pixels.width, pixels.height, bgr, **how)
        if pixels.format == "rgb24":
            array = cv2.cvtColor(array, cv2.COLOR_BGR2RGB)
        array = ((array.astype(np.float32) - np.float32(pixels.mean[0])) / np.float32(pixels.std[0]))[None]
        if pixels.layout == "nchw":
            array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
        arrays = dict(zip((output for output, _ in outputs), session.run(None, {pixels.tensor: array}), strict=True))
        ours = run(nms, detections=run(decode, tensors=Tensors(arrays, transform)))
        theirs = plain(bgr, session)
        rows, points = theirs if isinstance(theirs, tuple) else (theirs, None)
        assert len(ours) == len(rows)
        for class_id in np.unique(rows[:, 5]):
            assert reference.same_boxes(ours["box"][ours["class_id"] == class_id], rows[rows[:, 5] == class_id, :4]) > 0.999
        assert ours["score"] == pytest.approx(rows[:, 4], abs=1e-4)
        if points is not None and len(points):
            assert np.abs(ours["points"] - points).max() < 0.1
        found += len(ours)
    assert found or name == "palm"
