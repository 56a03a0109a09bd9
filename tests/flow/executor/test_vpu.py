"""A business on the device `vpu` beside one on the CPU: other workers, transfers in between, results as of the program run by itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import devices
import flow
import manifests
from flow.plan import views
from tests.devices.vpu.network import manifests_of, save_network

PICTURES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Manifests of a quantized model and a business for each device, and pictures of one colour each."""
    place = tmp_path / "manifests"
    place.mkdir()
    save_network(place / "net.onnx")
    text = manifests_of(**{"on-cpu": "engine: onnxruntime, precision: exact", "on-vpu": "device: vpu"})
    (place / "net.yaml").write_text(text)
    (tmp_path / "photos").mkdir()
    for number, colour in enumerate(colours()):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.full((12, 16, 3), colour[::-1], np.uint8))
    return place


def colours() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (PICTURES, 3))


def planned(folder: Path, **options: Any) -> flow.Plan:
    return flow.make_plan(manifests.load(folder, bind={"camera": str(folder.parent / "photos")}), **options)


def alone(folder: Path, engine: str) -> list[dict[str, float]]:
    """Scores by label of each picture, from a session of its own. Logits lie 0.02 apart: four decimals of a score tell any two of them."""
    session = devices.load(folder / "net.onnx", engine=engine, precision="auto" if engine == "vpu" else "exact")
    found = []
    for colour in colours():
        values = (colour.astype(np.float32) - 128) / np.float32(50)
        logits = session.run({"pixels": np.broadcast_to(values[None, :, None, None], (1, 3, 8, 8)).copy()})["out"][0].astype(np.float64)
        scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        found.append(dict(zip(("first", "second", "third"), scores.round(4).tolist(), strict=True)))
    return found


@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_both_stream_side_by_side(folder: Path, workers: Any, cores: int) -> None:
    plan = planned(folder, workers=workers, cores=cores)
    assert sorted(str(node.config["to"]) for node in plan.nodes if node.op == "memory.transfer") == ["cpu", "vpu"]
    assert [lane.device for lane in plan.lanes].count("vpu") == 1
    assert {(node.device, node.engine) for node in plan.nodes if node.engine} == {("cpu", "onnxruntime"), ("vpu", "vpu")}
    found: dict[str, list[dict[str, float]]] = {"on-cpu": [], "on-vpu": []}
    with flow.Executor(plan) as run:
        for result in run.results():
            found[result.business].append({one["label"]: one["score"] for one in result.classes})
        report = run.report()
    assert run.failed is None
    assert run.leaked_slots == 0
    assert found == {"on-cpu": alone(folder, "onnxruntime"), "on-vpu": alone(folder, "vpu")}
    assert {(each["device"], each["emulated"]) for each in report["workers"]} == {("cpu", False), ("vpu", True)}
    nodes = {address: node["runs"] for address, node in report["nodes"].items()}
    assert {nodes[node.address] for node in plan.nodes if node.device == "vpu"} == {PICTURES}


def test_emulation_is_said_wherever_the_device_is(folder: Path) -> None:
    plan = planned(folder, workers="processes", cores=2)
    assert "1 worker on vpu (emulated)" in views.text(plan)
    assert " on vpu (emulated)" in views.text(plan).partition("Lane")[2]
    assert "1 worker · vpu (emulated)" in views.drawing(plan)
    told = json.loads(json.dumps(views.document(plan)))
    assert {(each["device"], each["emulated"]) for part in ("nodes", "lanes") for each in told[part]} == {("cpu", False), ("vpu", True)}


def test_it_is_taken_only_where_it_is_named(folder: Path) -> None:
    text = (folder / "net.yaml").read_text()
    (folder / "net.yaml").write_text(text.replace("device: vpu", "precision: auto"))
    assert {node.device for node in planned(folder).nodes} == {"cpu"}
    (folder / "net.yaml").write_text(text.replace("engine: onnxruntime, precision: exact", "precision: auto"))
    assert [node.device for node in planned(folder).nodes if node.engine] == ["cpu", "vpu"]  # not merged into the emulation
    (folder / "net.yaml").write_text(text.replace("device: vpu", "precision: auto").replace("labels:", "engine: vpu\nlabels:"))
    assert {(node.device, node.engine) for node in planned(folder).nodes if node.engine} == {("cpu", "onnxruntime"), ("vpu", "vpu")}


def test_a_model_that_it_cannot_run_is_refused_with_the_operator(folder: Path) -> None:
    save_network(folder / "net.onnx", softmax=True)
    with pytest.raises(manifests.ManifestError) as caught:
        planned(folder)
    assert "vpu: it has no Softmax over float32 (node 'last')" in str(caught.value)


def test_the_program_is_shown_with_its_work(folder: Path) -> None:
    from flow.cli.plan import graphs_of

    plan = planned(folder)
    plan = dataclasses.replace(plan, nodes=tuple(node for node in plan.nodes if node.engine != "onnxruntime"))
    text = graphs_of(plan, "net", "text")
    assert "net@1.0.0 runs on vpu: the engine of device vpu" in text
    assert "vpu, emulated: 6 layers; declared: 512 KiB local, 64 GMAC/s, 4000 MB/s" in text
    told = json.loads(graphs_of(plan, "net", "json"))["vpu"]
    assert told["emulated"]
    assert told["macs"] == sum(layer["macs"] for layer in told["layers"]) > 8 * 4 * 4 * 27
    assert "compiled by vpu (emulated): 6 steps" in graphs_of(plan, "net", "svg")
