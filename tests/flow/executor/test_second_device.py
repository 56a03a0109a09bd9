"""A second device with a memory of its own: transfers are nodes of the plan, and whoever skipped one would see wrong data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import flow
import manifests


@pytest.fixture
def classifier(save_model: Callable[..., Path], tmp_path: Path) -> Path:
    """A model that scores a 8x8 RGB picture's three channels, with a manifest and one business for each device."""
    from onnx import helper

    path = save_model(
        [helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["scores"])],
        [("pixels", "float32", (1, 3, 8, 8))], [("scores", "float32", (1, 3))],
    )  # fmt: skip
    folder = tmp_path / "manifests"
    folder.mkdir()
    path.rename(folder / "colour.onnx")
    text = """
apiVersion: ace/v1
kind: Model
name: colour
version: 1.0.0
file: colour.onnx
input: {format: rgb24, fit: stretch, std: [255, 255, 255]}
labels: [red, green, blue]
"""
    for device in ("cpu", "fake"):
        text += f"""---
apiVersion: ace/v1
kind: Business
name: on-{device}
version: 1.0.0
inputs: {{camera: image}}
models: {{colour: colour@^1}}
graph:
  pixels:
    op: image.resize
    in: {{image: camera}}
    config: {{width: 8, height: 8, tensor: {{name: pixels, format: rgb24, std: [255, 255, 255]}}}}
  scores: {{op: nn.infer, in: {{tensors: pixels.tensors}}, model: colour, config: {{device: {device}}}}}
  colour: {{op: classify.topk, in: {{tensors: scores}}, model: colour, config: {{k: 1}}}}
outputs: {{colour: colour}}
"""
    (folder / "colour.yaml").write_text(text)
    return folder


@pytest.mark.usefixtures("fake_device")
@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_results_are_the_same_on_both_devices(classifier: Path, tmp_path: Path, workers: Any, cores: int) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate(("red", "green", "blue", "red", "blue")):
        picture = np.full((20, 30, 3), 20, np.uint8)
        picture[:, :, ("blue", "green", "red").index(name)] = 200
        cv2.imwrite(str(photos / f"{number}.png"), picture)
    plan = flow.make_plan(manifests.load(classifier, bind={"camera": str(photos)}), workers=workers, cores=cores)
    transfers = [node for node in plan.nodes if node.op == "memory.transfer"]
    assert sorted(str(node.config["to"]) for node in transfers) == ["cpu", "fake"]
    assert {lane.device for lane in plan.lanes} == {"cpu", "fake"}
    labels: dict[str, list[str]] = {}
    for output in ("on-cpu.colour", "on-fake.colour"):
        with flow.Executor(plan) as run:
            labels[output] = [result.classes[0]["label"] for result in run.results(output)]
        assert run.failed is None
        assert run.leaked_slots == 0
    assert labels["on-cpu.colour"] == labels["on-fake.colour"] == ["red", "green", "blue", "red", "blue"]
