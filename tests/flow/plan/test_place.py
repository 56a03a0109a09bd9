from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.native import choice
from devices.native.choice import Measured
from devices.registry import EngineStatus
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


@pytest.fixture
def native(house: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A machine with the engine native, on which nothing is prepared; a function that prepares the model of `infer`."""
    from devices import registry

    cpu, *others = registry.available()
    cpu = replace(cpu, engines=(EngineStatus("native", ("exact",), None), *cpu.engines))
    monkeypatch.setattr(registry, "available", lambda: [cpu, *others])
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "cache"))

    def prepared(*missing: str, native_ms: float = 1.0) -> None:
        measured = () if missing else (Measured(1, 40, native_ms, 2.0),)
        choice.keep(house.read_model(house.model()), missing, measured)

    return prepared


def inferring(plan: Any) -> Any:
    return next(node for node in plan.nodes if node.op == "t.infer")


def test_a_model_that_was_not_prepared_runs_on_onnxruntime(house: Any, native: Callable[..., None]) -> None:
    node = inferring(house.plan(infer(house)))
    assert (node.engine, node.why) == ("onnxruntime", "not prepared: `ace prepare` measures whether native is faster")


def test_the_engine_that_was_measured_to_be_faster_runs_it(house: Any, native: Callable[..., None]) -> None:
    before = house.plan(infer(house))
    native(native_ms=1.5)
    faster = house.plan(infer(house))
    assert (inferring(faster).engine, inferring(faster).config["engine"]) == ("native", "native")
    assert inferring(faster).why == "native was measured faster: 1.50 against 2.00 ms with 1 thread"
    native(native_ms=1.2)
    again = house.plan(infer(house))
    assert again.digest == faster.digest != before.digest, "results hang on the engine, not on the reason for it"
    assert inferring(again).address == inferring(before).address
    native(native_ms=2.5)
    assert inferring(house.plan(infer(house))).engine == "onnxruntime"


def test_operators_that_native_lacks_are_named(house: Any, native: Callable[..., None]) -> None:
    native("Einsum (ai.onnx 17, node 'mix')")
    node = inferring(house.plan(infer(house)))
    assert (node.engine, node.why) == ("onnxruntime", "native lacks Einsum (ai.onnx 17, node 'mix')")
    problem = house.problem(infer(house, engine="native"))
    assert "Einsum (ai.onnx 17, node 'mix')" in problem.got


def test_what_somebody_names_comes_before_what_was_measured(
    house: Any, native: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    native()
    node = inferring(house.plan(infer(house, engine="onnxruntime")))
    assert (node.engine, node.why) == ("onnxruntime", "named by the node")
    read = house.read_model
    monkeypatch.setattr("devices.model.model_info", lambda resolved: replace(read(resolved), engine="onnxruntime"))
    node = inferring(house.plan(infer(house)))
    assert (node.engine, node.why) == ("onnxruntime", "named by the Model manifest")
    node = inferring(house.plan(infer(house, engine="native")))
    assert (node.engine, node.why) == ("native", "named by the node")


def test_the_manifest_can_name_native_before_it_is_prepared(
    house: Any, native: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = house.read_model
    monkeypatch.setattr("devices.model.model_info", lambda resolved: replace(read(resolved), engine="native"))
    node = inferring(house.plan(infer(house)))
    assert (node.engine, node.why) == ("native", "named by the Model manifest")
    problem = house.problem(infer(house, path="unfit.onnx"))
    assert "native: it has no Einsum" in problem.got


def test_a_precision_that_native_has_not_leaves_it_to_others(
    house: Any, native: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from devices import registry

    native()
    cpu, *others = registry.available()
    cpu = replace(cpu, engines=(cpu.engines[0], EngineStatus("onnxruntime", ("exact", "fast"), None)))
    monkeypatch.setattr(registry, "available", lambda: [cpu, *others])
    node = inferring(house.plan(infer(house, precision="fast")))
    assert node.engine == "onnxruntime"
    assert "native: expected precision auto or exact, got fast" in node.why


def test_equal_work_is_shared_whoever_names_the_engine(house: Any, native: Callable[..., None]) -> None:
    one, other = infer(house), infer(house, engine="native")
    plan = house.plan(one, replace(other, business=other.business.model_copy(update={"name": "other"})))
    (node,) = [node for node in plan.nodes if node.op == "t.infer"]
    assert (node.engine, len(node.names)) == ("native", 2)
