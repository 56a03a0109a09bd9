from __future__ import annotations

from typing import Any

import pytest

from devices.spec import ImageSpec


def blur(device: str = "npu") -> dict[str, Any]:
    return {"op": "t.blur", "in": {"image": "camera"}, "config": {"device": device}}


def infer(house: Any, path: str = "net.onnx", **config: Any) -> Any:
    graph = {
        "prepared": {"op": "t.prepare", "in": {"image": "camera"}},
        "found": {"op": "t.infer", "in": {"tensors": "prepared"}, "model": "m", "config": config},
        "boxes": {"op": "t.decode", "in": {"tensors": "found"}, "model": "m"},
    }
    return house.use(graph, models={"m": house.model(path=path)})


def test_auto_is_the_host_and_onnxruntime(house: Any) -> None:
    node = next(node for node in house.plan(infer(house)).nodes if node.op == "t.infer")
    assert (node.device, node.engine) == ("cpu", "onnxruntime")
    assert (node.config["device"], node.config["engine"]) == ("cpu", "onnxruntime")


@pytest.mark.parametrize("config", [{"device": "npu"}, {"engine": "npurt"}])
def test_a_device_or_its_engine_can_be_asked_for(house: Any, config: dict[str, str]) -> None:
    node = next(node for node in house.plan(infer(house, **config)).nodes if node.op == "t.infer")
    assert (node.device, node.engine) == ("npu", "npurt")


@pytest.mark.parametrize(
    ("config", "key", "expected", "got"),
    [
        ({"device": "npx"}, "device", "`npu`", "npx"),
        ({"device": "gone"}, "device", "works here", "no driver"),
        ({"engine": "onnxruntim"}, "engine", "`onnxruntime`", "onnxruntim"),
        ({"device": "cpu", "engine": "npurt"}, "engine", "engines of cpu", "npurt"),
        ({"precision": "half"}, "engine", "can run the model", "precision auto or exact, got half"),
    ],
)
def test_places_that_there_are_not(house: Any, config: dict[str, str], key: str, expected: str, got: str) -> None:
    problem = house.problem(infer(house, **config))
    assert problem.path == f"graph.found.config.{key}"
    assert expected in problem.expected
    assert got in problem.got


def test_an_engine_that_lacks_an_operator_of_the_model_is_not_chosen(house: Any) -> None:
    assert "it has no Einsum" in house.problem(infer(house, path="unfit.onnx", device="npu")).got
    assert next(n for n in house.plan(infer(house, path="unfit.onnx")).nodes if n.engine).engine == "onnxruntime"


def test_what_lies_in_other_memory_is_brought_there_and_back(house: Any) -> None:
    plan = house.plan(house.use({"blurred": blur(), "boxes": {"op": "t.find", "in": {"image": "blurred"}}}))
    there, work, back, boxes = plan.nodes
    assert [node.op for node in plan.nodes] == ["memory.transfer", "t.blur", "memory.transfer", "t.find"]
    assert there.config == {"to": "npumem", "source": "cpu"}
    assert back.config == {"to": "cpu", "source": "npumem"}
    assert dict(there.outputs)["value"] == ImageSpec(64, 48, "yuv420p", domain="npumem")
    assert dict(work.outputs)["image"] == ImageSpec(64, 48, "yuv420p", domain="npumem")
    assert dict(back.outputs)["value"] == ImageSpec(64, 48, "yuv420p")
    assert [node.device for node in plan.nodes] == ["npu", "npu", "npu", "cpu"]
    assert boxes.inputs[0][1].address == back.address


def test_a_transfer_is_shared_by_all_who_need_it(house: Any) -> None:
    one = {"blurred": blur(), "boxes": {"op": "t.find", "in": {"image": "blurred"}}}
    other = {"again": {**blur(), "config": {"device": "npu", "by": 2}}}
    plan = house.plan(house.use(one), house.use(other, name="other"))
    transfers = [node for node in plan.nodes if node.op == "memory.transfer" and node.config["to"] == "npumem"]
    assert len(transfers) == 1
    assert transfers[0].businesses == ("pet", "other")


def test_records_stay_where_they_are(house: Any) -> None:
    plan = house.plan(infer(house, device="npu"))
    assert [node.op for node in plan.nodes] == ["t.prepare", "memory.transfer", "t.infer", "memory.transfer", "t.decode"]
    assert dict(plan.nodes[-1].outputs)["boxes"].domain == "cpu"


def test_a_device_has_a_lane_of_its_own(house: Any) -> None:
    plan = house.plan(infer(house, device="npu"), cores=1)
    assert [(lane.name, lane.device) for lane in plan.lanes] == [("all", "cpu"), ("device npu", "npu")]
    operators = {lane.device: [plan.node(a).op for chain in lane.chains for a in plan.chains[chain].nodes] for lane in plan.lanes}
    assert operators == {"cpu": ["t.prepare", "t.decode"], "npu": ["memory.transfer", "t.infer", "memory.transfer"]}
