"""A run from end to end: every frame once and in order, in threads and in processes, whatever dies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.plan.value import Plan

pytestmark = pytest.mark.usefixtures("operators")

Clip = Callable[..., Path]
Business = Callable[..., Path]


def plan_of(path: Path, source: Path | str, **options: Any) -> Plan:
    return flow.make_plan(manifests.load(path, bind={"camera": str(source)}), **options)


def finish(plan: Plan, output: str, **options: Any) -> tuple[list[Any], dict[str, Any], flow.Executor]:
    """All results of an output, the report, and the run."""
    with flow.Executor(plan, **options) as run:
        results = list(run.results(output))
    return results, run.report(), run


def assert_whole(results: list[Any], frames: int) -> None:
    """Every frame exactly once, in order, and each result from its own frame's pixels."""
    assert [result.seq for result in results] == list(range(frames))
    assert [round(result.points[0]["point"][0]) for result in results] == [16 + seq % 200 for seq in range(frames)]


def assert_balanced(report: dict[str, Any], run: flow.Executor) -> None:
    """The ledger's law on every stream and edge, and no slot left held."""
    for stream in report["streams"].values():
        assert stream["in_flight"] == 0
    for edge in report["edges"].values():
        for end in (edge, edge["received"]):
            assert end["in"] == end["out"] + sum(end["dropped"].values()) + end["in_flight"]
            assert end["in_flight"] == 0
    assert run.leaked_slots == 0


LEVEL = "level: {op: test.level, in: {image: camera}}"
CHAIN = """
level: {op: test.level, in: {image: camera}}
count: {op: test.count, in: {points: level}}
"""


@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("threads", 2), ("processes", 1), ("processes", 2)])
def test_every_frame_once_and_in_order(clip: Clip, business: Business, workers: Any, cores: int) -> None:
    plan = plan_of(business(LEVEL, {"level": "level"}), clip(60), workers=workers, cores=cores)
    results, report, run = finish(plan, "level")
    assert_whole(results, 60)
    assert_balanced(report, run)
    assert report["streams"]["camera"]["in"] == report["streams"]["camera"]["out"] == 60
    assert run.failed is None


def test_results_carry_what_the_contract_says(clip: Clip, business: Business) -> None:
    plan = plan_of(business(LEVEL, {"level": "level"}), clip(60), workers="threads")
    results, report, _ = finish(plan, "probe.level", frames=5)
    assert len(results) == 5
    last = results[-1]
    assert (last.business, last.version, last.output, last.stream, last.seq, last.pts_ns) == (
        "probe",
        "1.0.0",
        "level",
        "camera",
        4,
        160_000_000,
    )
    assert last.plan == plan.digest
    assert last.time is None
    assert last.latency_ms >= 0
    node = next(iter(report["nodes"].values()))
    assert (node["op"], node["names"], node["businesses"], node["runs"]) == ("test.level", ["probe.level"], ["probe"], 5)
    assert report["outputs"]["probe"]["level"]["results"] == 5


def test_json_lines_file(clip: Clip, business: Business, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    plan = plan_of(business(LEVEL, {"level": "level"}), clip(60), out={"level": [str(target)]})
    with flow.Executor(plan) as run:
        assert run.wait(60)
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(60))
    assert run.failed is None


def test_results_nobody_reads_hold_nothing_up(clip: Clip, business: Business) -> None:
    plan = plan_of(business(CHAIN, {"level": "level", "count": "count"}), clip(300), workers="threads")
    results, report, _ = finish(plan, "count")
    assert len(results) == 300
    assert report["outputs"]["probe"]["level"]["results"] == 300


def test_workers_rest_while_nobody_reads_the_results(business: Business) -> None:
    """Frames that come meanwhile are no reason to look over and over whether there is room now."""
    import psutil

    camera = "synthetic:pets?size=64x48&fps=300&frames=30000"
    plan = plan_of(business(LEVEL, {"level": "level"}), camera, workers="processes", cores=2)
    with flow.Executor(plan) as run:
        run.wait_running(60)
        workers = [psutil.Process(worker["pid"]) for worker in run.snapshot()["workers"] if worker["lane"] == 1]
        time.sleep(2)
        spent: list[float] = []
        while len(spent) < 2 or spent[-1] - spent[-2] > 0.02:
            time.sleep(0.5)
            spent.append(sum(sum(worker.cpu_times()[:2]) for worker in workers))
            assert len(spent) < 20, f"seconds of processor time, every half second: {spent}"
        run.drain()
        assert len(list(run.results("level"))) == run.report()["outputs"]["probe"]["level"]["results"] > 0


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_worker_that_dies_loses_and_doubles_nothing(clip: Clip, business: Business, tmp_path: Path, how: str) -> None:
    graph = f"""
    level: {{op: test.level, in: {{image: camera}}}}
    fine: {{op: test.trouble, in: {{points: level}}, config: {{at: 17, how: {how}, marks: {tmp_path}/mark}}}}
    """
    plan = plan_of(business(graph, {"fine": "fine"}), clip(60), workers="processes", cores=2)
    results, report, run = finish(plan, "fine")
    assert_whole(results, 60)
    assert_balanced(report, run)
    assert sum(worker["restarts"] for worker in report["workers"]) == 1
    assert report["poison"] == []


def test_state_is_handed_to_the_successor_of_a_dead_worker(clip: Clip, business: Business, tmp_path: Path) -> None:
    graph = f"""
    level: {{op: test.level, in: {{image: camera}}}}
    fine: {{op: test.trouble, in: {{points: level}}, config: {{at: 23, how: kill, marks: {tmp_path}/mark}}}}
    count: {{op: test.count, in: {{points: fine}}}}
    """
    plan = plan_of(business(graph, {"count": "count"}), clip(60), workers="processes", cores=1)
    results, report, _ = finish(plan, "count")
    assert [result.event[0]["value"] for result in results] == list(range(1, 61))
    assert not any(result.reset for result in results)
    assert report["state_resets"] == 0


def test_state_that_cannot_be_saved_is_reset_and_said_to_be(clip: Clip, business: Business, tmp_path: Path) -> None:
    graph = f"""
    level: {{op: test.level, in: {{image: camera}}}}
    fine: {{op: test.trouble, in: {{points: level}}, config: {{at: 23, how: kill, marks: {tmp_path}/mark}}}}
    count: {{op: test.count, in: {{points: fine}}, config: {{saves: false}}}}
    """
    plan = plan_of(business(graph, {"count": "count"}), clip(60), workers="processes", cores=1)
    results, report, _ = finish(plan, "count")
    assert [result.seq for result in results] == list(range(60))
    [first] = [result.seq for result in results if result.reset]
    assert 0 < first <= 23, "frames before the one that kills come again when their results had not been settled"
    assert report["state_resets"] == 1


def test_a_frame_that_kills_twice_is_poison_and_the_others_come_through(clip: Clip, business: Business) -> None:
    graph = """
    level: {op: test.level, in: {image: camera}}
    fine: {op: test.trouble, in: {points: level}, config: {at: 17, how: kill, once: false}}
    """
    plan = plan_of(business(graph, {"fine": "fine"}), clip(40), workers="processes", cores=2)
    results, report, _ = finish(plan, "fine")
    assert [result.seq for result in results] == [seq for seq in range(40) if seq != 17]
    assert [(found["node"], found["stream"], found["seq"]) for found in report["poison"]] == [("probe.fine", "camera", 17)]
    assert any("poison" in causes for causes in report["streams"]["camera"]["dropped"].values())


def test_a_stalled_operator_is_ended_and_the_frame_tried_again(clip: Clip, business: Business, tmp_path: Path) -> None:
    graph = f"""
    level: {{op: test.level, in: {{image: camera}}}}
    fine: {{op: test.trouble, in: {{points: level}}, deadline_ms: 300, config: {{at: 17, how: hang, marks: {tmp_path}/mark}}}}
    """
    events: list[dict[str, Any]] = []
    plan = plan_of(business(graph, {"fine": "fine"}), clip(40), workers="processes", cores=2)
    results, report, _ = finish(plan, "fine", on_event=events.append)
    assert_whole(results, 40)
    assert any("deadline is 300 ms" in event.get("message", "") for event in events)
    assert sum(worker["restarts"] for worker in report["workers"]) == 1


def test_an_operator_that_raises_costs_its_frame_and_is_reported(clip: Clip, business: Business) -> None:
    graph = """
    level: {op: test.level, in: {image: camera}}
    fine: {op: test.trouble, in: {points: level}, config: {at: 17, how: raise, once: false}}
    """
    plan = plan_of(business(graph, {"fine": "fine"}), clip(40), workers="processes", cores=2)
    results, report, run = finish(plan, "fine")
    assert [result.seq for result in results] == [seq for seq in range(40) if seq != 17]
    assert report["streams"]["camera"]["dropped"] == {"probe.fine": {"error": 1}}
    node = next(node for node in report["nodes"].values() if node["op"] == "test.trouble")
    assert node["errors"] == 1
    assert "RuntimeError: asked to raise" in report["problems"][0]
    assert "probe.yaml:8" in report["problems"][0]
    assert run.failed is None


def test_a_worker_that_always_dies_is_given_up_and_the_run_ends(clip: Clip, business: Business, tmp_path: Path) -> None:
    graph = """
    level: {op: test.level, in: {image: camera}}
    fine: {op: test.trouble, in: {points: level}, config: {at: 0, how: kill, once: false}}
    """
    path = business(graph, {"fine": "fine"})
    path.write_text(
        path.read_text()
        + f"""---
apiVersion: ace/v1
kind: Device
name: here
streams: {{front: {{source: {clip(40)}}}}}
businesses: [{{use: probe, bind: {{camera: front}}, on_error: stop}}]
"""
    )
    plan = flow.make_plan(manifests.load(path), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        assert run.wait(60)
    assert run.failed is not None
    assert run.report()["problems"]


def test_one_broken_business_does_not_stop_another(clip: Clip, business: Business, tmp_path: Path) -> None:
    sound = business(LEVEL, {"level": "level"}, name="sound")
    broken = business(
        """
        level: {op: test.level, in: {image: camera}}
        count: {op: test.count, in: {points: level}}
        fine: {op: test.trouble, in: {points: level}, config: {at: 5, how: kill, once: false}}
        """,
        {"fine": "fine", "count": "count"},
        name="broken",
    )
    device = tmp_path / "device.yaml"
    device.write_text(f"""
apiVersion: ace/v1
kind: Device
name: here
streams: {{front: {{source: {clip(60)}}}}}
businesses:
  - {{use: sound, bind: {{camera: front}}}}
  - {{use: broken, bind: {{camera: front}}, on_error: stop}}
""")
    plan = flow.make_plan(manifests.load(sound, broken, device), workers="processes", cores=2)
    results, _, run = finish(plan, "sound.level")
    assert_whole(results, 60)
    assert run.failed is not None


def test_two_values_of_one_frame_meet_again(clip: Clip, business: Business) -> None:
    graph = """
    first: {op: test.level, in: {image: camera}}
    bright: {op: test.tint, in: {image: camera}}
    second: {op: test.level, in: {image: bright}, config: {work_ms: 2}}
    both: {op: test.both, in: {first: first, second: second}}
    """
    for workers, cores in (("threads", 1), ("processes", 2)):
        plan = plan_of(business(graph, {"both": "both"}), clip(60), workers=workers, cores=cores)
        results, report, run = finish(plan, "both")
        assert [result.seq for result in results] == list(range(60))
        assert all(result.points[0]["point"][1] == 0 for result in results)
        assert_balanced(report, run)


def test_an_operator_without_a_result_gives_no_row_and_holds_nothing_up(clip: Clip, business: Business) -> None:
    graph = """
    level: {op: test.level, in: {image: camera}}
    some: {op: test.some, in: {points: level}}
    both: {op: test.both, in: {first: level, second: some}}
    """
    for workers, cores in (("threads", 1), ("processes", 2)):
        plan = plan_of(business(graph, {"both": "both"}), clip(60), workers=workers, cores=cores)
        results, report, run = finish(plan, "both")
        assert [result.seq for result in results] == list(range(0, 60, 3))
        assert_balanced(report, run)


def test_two_streams_meet_by_timestamp(clip: Clip, business: Business) -> None:
    """A stream of 25 frames a second joined by one of 10: each result has the latest frame of the other that is not later."""
    graph = """
    first: {op: test.level, in: {image: camera}}
    second: {op: test.level, in: {image: side}}
    both: {op: test.both, in: {first: first, second: second}}
    """
    path = business(graph, {"both": "both"}, inputs=("camera", "side"))
    deployment = manifests.load(path, bind={"camera": str(clip(60)), "side": str(clip(60, fps=10))})
    for workers, cores in (("threads", 1), ("processes", 2)):
        results, _, _ = finish(flow.make_plan(deployment, workers=workers, cores=cores), "both")
        assert [result.seq for result in results] == list(range(60))
        for result in results:
            anchor, other = result.inputs
            assert (anchor["stream"], anchor["seq"], anchor["pts_ns"]) == ("camera", result.seq, result.pts_ns)
            assert other["stream"] == "side"
            assert other["pts_ns"] <= result.pts_ns < other["pts_ns"] + 100_000_000


def test_draining_ends_a_run_with_every_frame_in_flight(clip: Clip, business: Business) -> None:
    graph = "level: {op: test.level, in: {image: camera}, config: {work_ms: 5}}"
    plan = plan_of(business(graph, {"level": "level"}), clip(2000), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        results = []
        for result in run.results("level"):
            results.append(result)
            if result.seq == 20:
                run.drain()
    report = run.report()
    assert len(results) == report["streams"]["camera"]["out"] < 2000
    assert_whole(results, len(results))
    assert_balanced(report, run)


def test_several_outputs_at_once(clip: Clip, business: Business) -> None:
    plan = plan_of(business(CHAIN, {"level": "level", "count": "count"}), clip(60), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        results = list(run.results())
    for output in ("level", "count"):
        assert [result.seq for result in results if result.output == output] == list(range(60))


def test_an_unknown_output_is_an_error_that_names_the_known(clip: Clip, business: Business) -> None:
    plan = plan_of(business(LEVEL, {"level": "level"}), clip(60), workers="threads")
    with flow.Executor(plan) as run, pytest.raises(flow.executor.RunError, match=r"probe\.level"):
        next(run.results("levle"))


@pytest.mark.parametrize(("gives", "said"), [("number", "got int"), ("port", "got 'point'"), ("dtype", "got an array of")])
def test_an_operator_that_gives_something_else_is_named(clip: Clip, business: Business, gives: str, said: str) -> None:
    graph = f"""
    level: {{op: test.level, in: {{image: camera}}}}
    wrong: {{op: test.wrong, in: {{points: level}}, config: {{gives: {gives}}}}}
    """
    plan = plan_of(business(graph, {"wrong": "wrong"}), clip(40), workers="threads")
    results, report, _ = finish(plan, "wrong")
    assert results == []
    assert report["streams"]["camera"]["dropped"] == {"probe.wrong": {"error": 40}}
    assert "Wrong.run: expected" in report["problems"][0]
    assert said in report["problems"][0]
