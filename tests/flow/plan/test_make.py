from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import flow
from flow.plan import views
from manifests.errors import ManifestError

DETECT = {"boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m"}, "tracks": {"op": "t.track", "in": {"boxes": "boxes"}}}


def live(house: Any) -> Any:
    return replace(house.probe, live=True)


def test_make_plan_is_public() -> None:
    from flow.plan import PlanError, make_plan

    assert flow.make_plan is make_plan
    assert issubclass(PlanError, Exception)


def test_a_file_blocks_and_a_camera_gives_its_newest(house: Any) -> None:
    use = house.use(DETECT, models={"m": house.model()})
    assert {edge.policy for edge in house.plan(use).edges} == {"block"}
    plan = house.plan(use, probe=live(house))
    assert [edge.policy for edge in plan.edges] == ["latest", "block"]
    assert plan.pools[0].slots == 1 + 1 + 1 + plan.edges[0].capacity + 1


@pytest.mark.parametrize(("cores", "frames"), [(1, 0), (2, 8), (4, 16)])
def test_frames_in_flight_add_up_along_the_way(house: Any, cores: int, frames: int) -> None:
    use = house.use(DETECT, models={"m": house.model()})
    assert house.plan(use, cores=cores).frames_in_flight == {"pet.out": frames}
    assert house.plan(use, cores=cores, probe=live(house)).frames_in_flight == {"pet.out": frames + 1}
    queue = {"front": {"source": "x", "overload": "drop_oldest", "queue": 6}}
    assert house.plan(use, cores=cores, probe=live(house), streams=queue).frames_in_flight == {"pet.out": frames + 6}


def test_goals_are_kept(house: Any) -> None:
    use = house.use(DETECT, models={"m": house.model()}, goals={"latency_ms": 150, "rate": 10})
    plan = house.plan(use)
    assert (plan.latency_ms, plan.rates) == ({"pet.out": 150}, {"pet.out": 10})
    assert "pet.out  10 a second, 150 ms" in views.text(plan)


def test_the_digest_says_what_runs_and_where(house: Any) -> None:
    use = house.use(DETECT, models={"m": house.model()})
    plan = house.plan(use)
    assert house.plan(use).digest == plan.digest
    assert house.plan(replace(use, position=replace(use.position, file="elsewhere"))).digest == plan.digest
    for other in ({"cores": 4}, {"workers": "threads"}, {"link": "zmq"}, {"probe": live(house)}, {"out": {"out": ["-", "-"]}}):
        assert house.plan(use, **other).digest != plan.digest


def test_another_target_is_the_same_plan(house: Any, tmp_path: Any) -> None:
    use = house.use(DETECT, models={"m": house.model()})
    one, other = (house.plan(use, out={"out": [str(tmp_path / name)]}) for name in ("a.jsonl", "b.jsonl"))
    assert one.digest == other.digest
    assert one != other


def test_problems_of_every_step_come_together_in_the_order_of_the_files(house: Any, unreachable: Any) -> None:
    graph = {"boxes": {"op": "t.fnid", "in": {"image": "camera"}}, "tracks": {"op": "t.track", "in": {"boxes": "camera"}}}
    with pytest.raises(ManifestError) as caught:
        flow.make_plan(house.deployment(house.use(graph)), probe=unreachable)
    problems = caught.value.problems
    assert [problem.path for problem in problems] == ["streams.front.source", "graph.boxes.op"]


def test_a_link_is_kept(house: Any) -> None:
    assert house.plan(house.use(DETECT, models={"m": house.model()}), link="zmq").link == "zmq"


def test_a_node_finds_its_model_by_manifest(house: Any) -> None:
    plan = house.plan(house.use(DETECT, models={"m": house.model()}))
    infer = next(node for node in plan.nodes if node.engine)
    assert plan.model(infer).name == "net"
    assert plan.model(plan.nodes[0]) is None
    assert plan.node(infer.address) is infer
    assert plan.stream("front").name == "front"
    with pytest.raises(KeyError):
        plan.stream("back")
    with pytest.raises(KeyError):
        plan.node("nowhere")


def test_a_device_without_a_business_has_an_empty_plan(house: Any) -> None:
    from flow.plan import views
    from flow.plan.codec import decode_plan, encode_plan

    plan = house.plan()
    assert plan.nodes == plan.streams == plan.chains == plan.lanes == ()
    assert decode_plan(encode_plan(plan)) == plan
    assert views.drawing(plan).startswith("<svg")
    assert views.explain(plan).startswith("nothing")
    assert plan.digest in views.text(plan)


def test_making_a_plan_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    code = "import sys, flow.plan.make, flow.plan.views, flow.plan.codec; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"cv2", "av", "onnx", "onnxruntime", "numba", "lap", "zmq", "yaml"}
