from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from flow.plan import views
from flow.plan.explain import saved_inferences, saved_model_bytes, saved_runs


@pytest.fixture
def plan(house: Any) -> Any:
    def graph(score: float) -> dict[str, Any]:
        return {
            "boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m", "config": {"score": score}},
            "tracks": {"op": "t.track", "in": {"boxes": "boxes"}},
            "met": {"op": "t.meet", "in": {"left": "camera", "right": "tracks"}},
        }

    models = {"m": house.model()}
    return house.plan(house.use(graph(0.3), models=models, set={"boxes.score": 0.4}), house.use(graph(0.6), name="other", models=models))


def test_text_names_everything(plan: Any) -> None:
    text = views.text(plan)
    for word in (plan.digest, "front", "64x48 yuv420p", "Lane 1, infer net: 2 workers on cpu",
                 "pet.boxes › t.infer (+ other.boxes › t.infer) on onnxruntime",
                 "pet.out → the Python program", "pet.boxes.score = 0.4", str(plan.shared_memory_bytes), "0 → 1"):  # fmt: skip
        assert word in text, word
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_document_is_json_with_the_keys_that_are_promised(plan: Any) -> None:
    document = json.loads(json.dumps(views.document(plan), allow_nan=False))
    assert document["plan"] == plan.digest
    assert document["shared_memory_bytes"] == plan.shared_memory_bytes
    assert document["ram_bytes"] == plan.ram_bytes
    infer = next(node for node in document["nodes"] if node["op"] == "t.infer")
    assert {"address", "op", "businesses", "device", "engine", "model", "inputs", "outputs"} <= infer.keys()
    assert infer["businesses"] == ["pet", "other"]
    assert (infer["device"], infer["engine"], infer["model"]) == ("cpu", "onnxruntime", "net@1.0.0")
    outputs = {f"{node['address']}.{port}" for node in document["nodes"] for port in node["outputs"]}
    outputs |= {f"{stream['address']}.image" for stream in document["streams"]}
    assert {value for node in document["nodes"] for value in node["inputs"].values()} <= outputs


def test_the_drawing_is_one_file_with_a_card_for_everything(plan: Any) -> None:
    root = ElementTree.fromstring(views.drawing(plan))
    text = "\n".join(root.itertext())
    for node in plan.nodes:
        assert node.address in text
    svg = "{http://www.w3.org/2000/svg}"
    cards = [box for box in root.iter(f"{svg}rect") if box.get("class") == "card"]
    lanes = [box for box in root.iter(f"{svg}rect") if box.get("class") == "lane"]
    assert len(cards) == len(plan.nodes) + len(plan.streams) + len(plan.sinks)
    assert len(lanes) == len(plan.lanes)
    assert not any(name.endswith("href") for element in root.iter() for name in element.attrib)


def test_nothing_in_the_drawing_lies_on_something_else(plan: Any) -> None:
    root = ElementTree.fromstring(views.drawing(plan))
    for kind in ("card", "lane"):
        boxes = [[float(box.get(key, 0)) for key in ("x", "y", "width", "height")] for box in root.iter() if box.get("class") == kind]
        for place, (x, y, w, h) in enumerate(boxes):
            for u, v, _, _ in boxes[:place]:
                assert abs(x - u) >= w or abs(y - v) >= h - 1e-9
        assert all(x + w <= float(root.get("width", 0)) and y + h <= float(root.get("height", 0)) for x, y, w, h in boxes)


def test_names_from_manifests_cannot_break_the_drawing(house: Any) -> None:
    streams = {"front": {"source": '/a"><script>&.mp4'}}
    drawn = views.drawing(house.plan(house.use({"boxes": {"op": "t.find", "in": {"image": "camera"}}}), streams=streams))
    assert "<script>" not in drawn
    ElementTree.fromstring(drawn)


def test_explain_says_what_is_shared_and_saved(plan: Any) -> None:
    assert saved_inferences(plan) == 1
    assert saved_runs(plan) == 2
    text = views.explain(plan)
    assert "10 nodes wanted, 8 run" in text
    assert "1 of 2 inferences, 2 of 10 operator runs" in text
    assert "pet.boxes › t.infer, other.boxes › t.infer" in text
    assert "net@1.0.0" in text


def test_explain_speaks_of_models_only_where_there_are_some(house: Any) -> None:
    graph = {"boxes": {"op": "t.find", "in": {"image": "camera"}}}
    headline = views.explain(house.plan(house.use(graph), house.use(graph, name="other"))).splitlines()[0]
    assert headline == "pet, other: 2 nodes wanted, 1 run. Saved on every frame: 1 of 2 operator runs"


def test_explain_says_why_an_inference_is_not_shared(house: Any) -> None:
    graph = {"boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m"}}
    models = {"m": house.model()}
    plan = house.plan(house.use(graph, models=models), house.use(graph, name="other", bind={"camera": "back"}, models=models))
    assert saved_inferences(plan) == 0
    assert saved_model_bytes(plan) == 0  # the file of the tests' model does not exist
    assert "other.boxes › t.infer infers on back, this on front" in views.explain(plan)


def test_explain_of_one_business(house: Any) -> None:
    assert views.explain(house.plan(house.use({"boxes": {"op": "t.find", "in": {"image": "camera"}}}))) == "pet: 1 node, nothing to share"
