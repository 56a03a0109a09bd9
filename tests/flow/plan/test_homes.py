from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.engine import ModelInfo
from devices.spec import TensorSpec, TensorsSpec
from flow.plan.homes import costs_little
from flow.plan.value import Plan

DETECT = {"boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m"}}


def tracked(**rest: Any) -> dict[str, Any]:
    return {**DETECT, "tracks": {"op": "t.track", "in": {"boxes": "boxes"}}, **rest}


def lanes(plan: Plan) -> dict[str, list[str]]:
    """What each lane runs: stream names, operators, outputs."""
    sinks = {sink.id: f"{sink.business}.{sink.output}" for sink in plan.sinks}
    found = {}
    for lane in plan.lanes:
        work: list[str] = []
        for number in lane.chains:
            chain = plan.chains[number]
            work += [chain.stream] if chain.stream else []
            work += [plan.node(address).op for address in chain.nodes]
            work += [sinks[sink] for sink in chain.sinks]
        found[lane.name] = work
    return found


def replicas(plan: Plan) -> dict[str, int]:
    return {lane.name: lane.replicas for lane in plan.lanes}


def test_one_core_has_one_lane(house: Any) -> None:
    plan = house.plan(house.use(tracked(), models={"m": house.model()}), cores=1)
    assert lanes(plan) == {"all": ["front", "t.prepare", "t.infer", "t.decode", "t.track", "pet.out"]}
    assert len(plan.chains) == 1
    assert plan.edges == plan.pools == ()
    assert plan.workers == "processes"


def test_two_cores_have_source_inference_and_tail(house: Any) -> None:
    plan = house.plan(house.use(tracked(), models={"m": house.model()}), cores=2)
    assert lanes(plan) == {
        "source front": ["front"],
        "infer net": ["t.prepare", "t.infer", "t.decode"],
        "pet": ["t.track", "pet.out"],
    }
    assert replicas(plan) == {"source front": 1, "infer net": 2, "pet": 1}
    assert {lane.threads for lane in plan.lanes} == {1}


def test_threads_are_laid_out_like_processes(house: Any) -> None:
    use = house.use(tracked(), models={"m": house.model()})
    threads, processes = house.plan(use, workers="threads"), house.plan(use, workers="processes")
    assert threads.lanes == processes.lanes
    assert (threads.workers, processes.workers) == ("threads", "processes")


def test_classical_work_prepares_its_pictures_at_the_source(house: Any) -> None:
    graph = {
        "small": {"op": "t.shrink", "in": {"image": "camera"}},
        "boxes": {"op": "t.find", "in": {"image": "small"}},
        "tracks": {"op": "t.track", "in": {"boxes": "boxes"}},
    }
    assert lanes(house.plan(house.use(graph))) == {"source front": ["front", "t.shrink"], "pet": ["t.find", "t.track", "pet.out"]}


@pytest.mark.parametrize(("cores", "expected"), [(2, 1), (3, 1), (4, 2), (8, 4)])
def test_sessions_share_out_the_cores(house: Any, cores: int, expected: int) -> None:
    models = {"m": house.model("one", digest="d1")}
    others = {"m": house.model("two", digest="d2")}
    plan = house.plan(house.use(tracked(), models=models), house.use(tracked(), name="other", models=others), cores=cores)
    assert replicas(plan) == {"source front": 1, "infer one": expected, "infer two": expected, "pet": 1, "other": 1}


def test_what_two_sessions_read_is_made_once_at_the_source(house: Any) -> None:
    models = {"m": house.model("one", digest="d1")}
    others = {"m": house.model("two", digest="d2")}
    plan = house.plan(house.use(tracked(), models=models), house.use(tracked(), name="other", models=others))
    assert lanes(plan)["source front"] == ["front", "t.prepare"]


def test_streams_of_one_session_are_chains_of_one_lane(house: Any) -> None:
    models = {"m": house.model()}
    uses = [house.use(tracked(), name=name, bind={"camera": name}, models=models) for name in ("a", "b")]
    plan = house.plan(*uses)
    infer = next(lane for lane in plan.lanes if lane.name == "infer net")
    assert len(infer.chains) == 2
    assert [len(plan.chains[chain].nodes) for chain in infer.chains] == [3, 3]


def test_businesses_that_share_only_pure_work_have_tails_of_their_own(house: Any) -> None:
    models = {"m": house.model()}
    plan = house.plan(house.use(DETECT, models=models), house.use(tracked(), name="other", models=models))
    assert lanes(plan)["pet"] == ["pet.out"]
    assert lanes(plan)["other"] == ["t.track", "other.out"]


def test_businesses_that_share_state_share_a_tail(house: Any) -> None:
    models = {"m": house.model()}
    uses = [house.use(tracked(), name=name, models=models) for name in ("pet", "other")]
    third = house.use(DETECT, name="third", models=models)
    assert lanes(house.plan(*uses, third))["other + pet"] == ["t.track", "pet.out", "other.out"]
    assert lanes(house.plan(*uses, third))["third"] == ["third.out"]


def test_pure_work_after_two_sources_that_several_want_is_apart_from_their_tails(house: Any) -> None:
    graph = {"met": {"op": "t.meet", "in": {"left": "one", "right": "two"}}, "tracks": {"op": "t.track", "in": {"boxes": "met"}}}
    bind = {"one": "a", "two": "b"}
    plan = house.plan(house.use(graph, {"out": "met"}, bind=bind), house.use({"met": graph["met"]}, name="other", bind=bind))
    assert lanes(plan)["shared"] == ["t.meet"]
    assert lanes(plan)["other"] == ["other.out"]


def test_a_second_stage_goes_with_its_own_session(house: Any) -> None:
    graph = tracked(
        crops={"op": "t.crops", "in": {"image": "camera", "boxes": "boxes"}},
        tensors={"op": "t.prepare", "in": {"image": "crops"}},
        signs={"op": "t.infer", "in": {"tensors": "tensors"}, "model": "s"},
        named={"op": "t.decode", "in": {"tensors": "signs"}, "model": "s"},
        all={"op": "t.gather", "in": {"boxes": "named"}},
    )
    plan = house.plan(house.use(graph, models={"m": house.model("palm"), "s": house.model("sign", digest="d2")}))
    assert lanes(plan)["infer palm"] == ["t.prepare", "t.infer", "t.decode"]
    assert lanes(plan)["infer sign"] == ["t.crops", "t.prepare", "t.infer", "t.decode", "t.gather"]


def test_a_session_used_twice_in_a_row_is_one_lane_of_two_chains(house: Any) -> None:
    graph = tracked(
        crops={"op": "t.crops", "in": {"image": "camera", "boxes": "tracks"}},
        tensors={"op": "t.prepare", "in": {"image": "crops"}},
        again={"op": "t.infer", "in": {"tensors": "tensors"}, "model": "m"},
        named={"op": "t.decode", "in": {"tensors": "again"}, "model": "m"},
        all={"op": "t.gather", "in": {"boxes": "named"}},
    )
    plan = house.plan(house.use(graph, models={"m": house.model()}))
    assert len(next(lane for lane in plan.lanes if lane.name == "infer net").chains) == 2
    assert {(edge.producer, edge.consumer) for edge in plan.edges} == {(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)}


def test_two_precisions_are_two_sessions(house: Any) -> None:
    graph = {
        "tensors": {"op": "t.prepare", "in": {"image": "camera"}},
        "one": {"op": "t.infer", "in": {"tensors": "tensors"}, "model": "m"},
        "two": {"op": "t.infer", "in": {"tensors": "tensors"}, "model": "m", "config": {"precision": "exact"}},
        "a": {"op": "t.decode", "in": {"tensors": "one"}, "model": "m"},
        "b": {"op": "t.decode", "in": {"tensors": "two"}, "model": "m"},
    }
    plan = house.plan(house.use(graph, {"a": "a", "b": "b"}, models={"m": house.model()}))
    assert {"infer net", "infer net #2"} <= set(lanes(plan))


def test_a_model_of_a_few_numbers_needs_no_lane(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(bytes(100))
    small = TensorsSpec((("x", TensorSpec("float32", (1, 42))),))
    graph = tracked(
        crops={"op": "t.crops", "in": {"image": "camera", "boxes": "boxes"}},
        features={"op": "t.prepare", "in": {"image": "crops"}},
        signs={"op": "t.infer", "in": {"tensors": "features"}, "model": "s"},
        named={"op": "t.decode", "in": {"tensors": "signs"}, "model": "s"},
        all={"op": "t.gather", "in": {"boxes": "named"}},
    )
    models = {"m": house.model("palm"), "s": replace(house.model("sign", digest="d2"), path=path)}
    read = house.read_model
    monkeypatch.setattr(
        "devices.model.model_info", lambda found: replace(read(found), inputs=small.tensors) if found.path == path else read(found)
    )
    plan = house.plan(house.use(graph, {"all": "all", "out": "tracks"}, models=models))
    assert "infer sign" not in lanes(plan)
    assert "t.infer" in lanes(plan)["pet"]


@pytest.mark.parametrize(("shape", "size", "little"), [((1, 42), 100, True), ((1, 42), 2 << 20, False), ((1, 3, 32, 32), 100, False)])
def test_what_costs_little(tmp_path: Path, shape: tuple[int, ...], size: int, little: bool) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(size))
    signature = (("x", TensorSpec("float32", shape)),)
    assert costs_little(ModelInfo("m", "1.0.0", path, "d", signature, signature)) == little


def test_a_picture_that_waits_for_inference_is_made_late(house: Any, tmp_path: Path) -> None:
    plan = house.plan(house.use(tracked(), models={"m": house.model()}), out={"out": [str(tmp_path / "a.mp4")]})
    tail = plan.chains[-1]
    assert [plan.node(address).op for address in tail.nodes] == ["t.track", "image.convert", "draw.results"]
    assert [pool.ref.port for pool in plan.pools] == ["image"]
