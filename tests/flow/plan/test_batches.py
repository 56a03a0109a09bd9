from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flow.plan import views
from flow.plan.codec import decode_plan, encode_plan
from flow.plan.value import Batch, Plan
from flow.sources.contract import Probe

DETECT = {"boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m"}}
NAMES = ("a", "b", "c")


def detectors(house: Any, path: str = "open.onnx", names: tuple[str, ...] = NAMES) -> list[Any]:
    """The same business on several streams."""
    models = {"m": house.model(path=path)}
    return [house.use(DETECT, name=name, bind={"camera": name}, models=models) for name in names]


def batches(plan: Plan) -> list[Batch]:
    return [batch for lane in plan.lanes for batch in lane.batches]


def test_streams_of_one_session_go_together_where_the_model_leaves_its_batch_open(house: Any) -> None:
    plan = house.plan(*detectors(house))
    (batch,) = batches(plan)
    assert (batch.most, batch.delay_ms) == (3, 0.0)
    assert [plan.chains[chain].nodes[0] for chain in batch.chains]
    ((*group,),) = batch.nodes
    assert [plan.node(address).op for address in group] == ["t.infer"] * 3
    assert [plan.node(address).streams for address in group] == [("a",), ("b",), ("c",)]


def test_a_fixed_batch_shares_the_session_only(house: Any) -> None:
    plan = house.plan(*detectors(house, "fixed.onnx"))
    assert batches(plan) == []
    assert len(next(lane for lane in plan.lanes if lane.name == "infer net").chains) == 3


def test_one_stream_has_nobody_to_go_with(house: Any) -> None:
    assert batches(house.plan(*detectors(house, names=("a",)))) == []


def test_other_models_do_not_go_together(house: Any) -> None:
    first, second = detectors(house, names=("a", "b"))
    other = house.use(DETECT, name="other", bind={"camera": "c"}, models={"m": house.model("more", digest="d2", path="open2.onnx")})
    plan = house.plan(first, second, other)
    assert [len(batch.chains) for batch in batches(plan)] == [2]


def test_operators_without_a_model_get_a_lane_where_their_streams_meet(house: Any) -> None:
    def graph(**config: Any) -> dict[str, Any]:
        return {
            "boxes": {"op": "t.find", "in": {"image": "camera"}},
            "all": {"op": "t.together", "in": {"boxes": "boxes"}, "config": config},
        }

    uses = [house.use(graph(most=2, delay_ms=5), name=name, bind={"camera": name}) for name in NAMES]
    plan = house.plan(*uses, house.use(graph(most=4), name="other", bind={"camera": "d"}))
    (batch,) = batches(plan)
    assert (batch.most, batch.delay_ms, len(batch.chains)) == (2, 5.0, 3)
    assert {lane.name for lane in plan.lanes if "together" in lane.name} == {"batch t.together", "batch t.together #2"}


def test_no_slot_is_needed_for_a_batch(house: Any) -> None:
    """It takes the one frame of each chain that the chain would be at by itself."""
    apart, together = (house.plan(*detectors(house, path)) for path in ("fixed.onnx", "open.onnx"))
    assert [(pool.slots, pool.slot_bytes) for pool in together.pools] == [(pool.slots, pool.slot_bytes) for pool in apart.pools]
    assert together.frames_in_flight == apart.frames_in_flight
    assert together.ram_bytes == apart.ram_bytes + 2 * 3 * 2 * house.tensors.nbytes  # 2 workers, 3 frames, input and output


@pytest.mark.parametrize("delay_ms", [0.0, 5.0])
def test_the_plan_says_what_goes_together(house: Any, delay_ms: float) -> None:
    plan = house.plan(*detectors(house))
    lanes = tuple(replace(lane, batches=tuple(replace(batch, delay_ms=delay_ms) for batch in lane.batches)) for lane in plan.lanes)
    plan = replace(plan, lanes=lanes)
    (batch,) = batches(plan)
    said = "none waits longer than 5 ms for others" if delay_ms else "of those that wait already"
    assert f"chains {', '.join(map(str, batch.chains))}: up to 3 frames at once, one of each; {said}" in views.text(plan)
    explained = views.explain(plan)
    assert "Sessions that streams share" in explained
    assert "a, b, c" in explained
    document = json.loads(json.dumps(views.document(plan)))
    assert [lane["batches"] for lane in document["lanes"] if lane["batches"]] == [
        [{"chains": list(batch.chains), "most": 3, "delay_ms": delay_ms}]
    ]
    assert decode_plan(encode_plan(plan)) == plan


def many(house: Any, count: int, *, live: bool = True, cores: int = 2) -> Plan:
    probe = Probe(house.probe.spec, 25.0, live=live)
    plan: Plan = house.plan(*detectors(house, "fixed.onnx", tuple(f"s{number}" for number in range(count))), probe=probe, cores=cores)
    return plan


def test_many_streams_of_a_session_are_dealt_out_to_the_cores(house: Any) -> None:
    """Each stream keeps to one of the lanes; nothing is replicated and put back in order."""
    plan = many(house, 16)
    infer = [lane for lane in plan.lanes if lane.name.startswith("infer")]
    assert [(lane.name, len(lane.chains), lane.replicas) for lane in infer] == [("infer net, part 1", 8, 1), ("infer net, part 2", 8, 1)]
    few = many(house, 7)
    assert [(lane.name, lane.replicas) for lane in few.lanes if lane.name.startswith("infer")] == [("infer net", 2)]


def test_many_live_sources_and_outputs_share_workers(house: Any) -> None:
    plan = many(house, 16)
    assert [(lane.name, len(lane.chains)) for lane in plan.lanes if "infer" not in lane.name] == [
        ("sources, part 1", 8), ("sources, part 2", 8), ("outputs", 16),
    ]  # fmt: skip


def test_sources_that_wait_keep_workers_of_their_own(house: Any) -> None:
    """Each decodes as fast as it is asked, which takes a core by itself."""
    plan = many(house, 16, live=False)
    assert sum(lane.name.startswith("source ") for lane in plan.lanes) == 16


def test_no_operator_computes_beside_cameras_of_others(house: Any) -> None:
    """What computes in Python keeps the interpreter, and threads that read cameras would wait for it."""
    graph = {"small": {"op": "t.shrink", "in": {"image": "camera"}}, "boxes": {"op": "t.find", "in": {"image": "small"}}}
    uses = [house.use(graph, name=f"s{number}", bind={"camera": f"s{number}"}) for number in range(8)]
    plan = house.plan(*uses, probe=Probe(house.probe.spec, 25.0, live=True))
    shared = [lane for lane in plan.lanes if lane.name.startswith("sources")]
    assert len(shared) == 2
    assert not any(plan.chains[chain].nodes for lane in shared for chain in lane.chains)


def test_auto_places_businesses_in_processes_of_their_own(house: Any) -> None:
    """An operator may compute in Python without letting go of the interpreter: then only another process is safe from it."""
    graph = {"boxes": {"op": "t.find", "in": {"image": "camera"}}, "tracks": {"op": "t.track", "in": {"boxes": "boxes"}}}
    plan = house.plan(
        house.use(graph), house.use({"noise": graph["boxes"], "n": {"op": "t.noise", "in": {"boxes": "noise"}}}, name="other")
    )
    assert plan.workers == "processes"
    lane_of = {address: lane.id for lane in plan.lanes for chain in lane.chains for address in plan.chains[chain].nodes}
    track, noise = (next(node.address for node in plan.nodes if node.op == op) for op in ("t.track", "t.noise"))
    assert lane_of[track] != lane_of[noise]
