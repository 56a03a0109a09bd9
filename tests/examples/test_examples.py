from __future__ import annotations

import onnx
import onnxruntime
import pytest
import yaml

from flow.scenes.films import held_out
from flow.scenes.score import measure
from flow.scenes.truth import LABELS
from manifests.examples import path
from manifests.schema.business import Business
from manifests.schema.device import Device
from manifests.schema.model import Model

KINDS = {"Business": Business, "Device": Device, "Model": Model}
MODEL = path() / "models" / "scenes.onnx"


@pytest.mark.parametrize(
    ("file", "kind"),
    [("scenes", "Model"), ("gesture", "Business"), ("pet", "Business"), ("pen", "Business"), ("demo", "Device")],
)
def test_every_example_is_of_its_kind(file: str, kind: str) -> None:
    document = yaml.safe_load((path() / f"{file}.yaml").read_text())
    manifest = KINDS[document["kind"]].model_validate(document)
    assert document["kind"] == kind
    assert manifest.name == file


def test_the_manifest_fits_the_model() -> None:
    manifest = Model.model_validate(yaml.safe_load((path() / "scenes.yaml").read_text()))
    assert path() / manifest.file == MODEL
    assert MODEL.stat().st_size < 1_000_000
    assert manifest.labels == LABELS
    assert "rendered" in manifest.title
    graph = onnx.load(MODEL).graph
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in (*graph.input, *graph.output)}
    assert shapes == {"images": [1, 3, 160, 256], "output": [1, 840, 5 + len(LABELS)]}


def test_gesture_and_pet_can_share_an_inference() -> None:
    gesture, pet = (Business.model_validate(yaml.safe_load((path() / f"{name}.yaml").read_text())) for name in ("gesture", "pet"))
    assert gesture.models == pet.models
    classes = [set(node.config["classes"]) for business in (gesture, pet) for node in business.graph.values() if node.model]
    assert classes[0] | classes[1] == set(LABELS)
    assert not classes[0] & classes[1]


def test_the_detector_finds_what_is_rendered() -> None:
    """A sample of what docs/scenes.md states over more films."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
    tally = measure(lambda pixels: session.run(["output"], {"images": pixels})[0], held_out(6, frames=16))
    assert tally.hits.sum() > 100
    assert tally.hits.sum() >= 0.95 * (tally.hits + tally.misses).sum(), str(tally)
    assert tally.hits.sum() >= 0.92 * (tally.hits + tally.false).sum(), str(tally)
