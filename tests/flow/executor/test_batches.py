"""Frames of several streams in one call: who gets what, who pays for a failure, and how long anybody waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.plan.value import Plan

from .graph import Graph, Source, Step
from .test_graphs import play
from .test_run import assert_balanced

pytestmark = pytest.mark.usefixtures("operators")

Clip = Callable[..., Path]
NAMES = ("left", "middle", "right")
FRAMES = {"left": 60, "middle": 40, "right": 60}


def plan_of(folder: Path, clip: Clip, config: dict[str, Any], on_error: str = "restart", **options: Any) -> Plan:
    """The same business on three videos."""
    documents: list[dict[str, Any]] = [
        {
            "kind": "Business", "name": "crowd", "version": "1.0.0", "inputs": {"camera": "image"}, "outputs": {"seen": "crowd"},
            "graph": {
                "level": {"op": "test.level", "in": {"image": "camera"}},
                "crowd": {"op": "test.crowd", "in": {"points": "level"}, "config": config},
            },
        },
        {
            "kind": "Device", "name": "house", "streams": {name: {"source": str(clip(FRAMES[name]))} for name in NAMES},
            "businesses": [{"use": "crowd", "name": name, "bind": {"camera": name}, "on_error": on_error} for name in NAMES],
        },
    ]  # fmt: skip
    path = folder / "house.yaml"
    path.write_text("\n---\n".join(json.dumps({"apiVersion": "ace/v1", **one}) for one in documents))
    return flow.make_plan(manifests.load(path), **{"workers": "threads", "cores": 2, **options})


def finish(plan: Plan) -> tuple[dict[str, list[tuple[int, int, int]]], dict[str, Any], flow.Executor]:
    """(seq, x, frames in the call) of each stream's results, the report, the run."""
    found: dict[str, list[tuple[int, int, int]]] = {name: [] for name in NAMES}
    with flow.Executor(plan) as run:
        for result in run.results():
            x, y = result.points[0]["point"]
            found[result.business].append((result.seq, round(x), round(y)))
            assert result.stream == result.business
    return found, run.report(), run


def assert_whole(found: dict[str, list[tuple[int, int, int]]], without: tuple[str, int] | None = None) -> None:
    """Every frame of every stream exactly once, in order, with its own pixels; but for one."""
    for name, rows in found.items():
        expected = [(seq, 16 + seq % 200) for seq in range(FRAMES[name]) if (name, seq) != without]
        assert [row[:2] for row in rows] == expected, name


@pytest.mark.parametrize("link", ["auto", "zmq"])
@pytest.mark.parametrize(("workers", "delay_ms"), [("threads", 0.0), ("threads", 600_000.0), ("processes", 5.0)])
def test_each_stream_gets_its_own_results_in_order(tmp_path: Path, clip: Clip, workers: Any, delay_ms: float, link: Any) -> None:
    plan = plan_of(tmp_path, clip, {"delay_ms": delay_ms}, workers=workers, link=link)
    found, report, run = finish(plan)
    assert run.failed is None
    assert_whole(found)
    assert_balanced(report, run)
    crowd = [node for node in report["nodes"].values() if node["op"] == "test.crowd"]
    assert sum(node["runs"] for node in crowd) == sum(FRAMES.values())
    sizes = [size for rows in found.values() for _, _, size in rows]
    assert max(sizes) <= 3
    if delay_ms > 1000:  # who waits so long meets the others
        assert sum(node["calls"] for node in crowd) < sum(node["runs"] for node in crowd)
        assert set(sizes) == {2, 3}


def test_no_more_than_the_declared_number_go_together(tmp_path: Path, clip: Clip) -> None:
    found, _, _ = finish(plan_of(tmp_path, clip, {"most": 2, "delay_ms": 20.0}))
    assert_whole(found)
    assert {size for rows in found.values() for _, _, size in rows} <= {1, 2}


def test_the_last_stream_does_not_wait_for_those_that_have_ended(tmp_path: Path, clip: Clip) -> None:
    """With a delay of ten minutes, frames go on as soon as all streams that still run have one."""
    found, _, _ = finish(plan_of(tmp_path, clip, {"delay_ms": 600_000.0}))
    assert_whole(found)
    assert [size for _, _, size in found["right"]] == [3] * 40 + [2] * 20


def test_an_operator_that_raises_in_a_batch_costs_the_guilty_frame_alone(tmp_path: Path, clip: Clip) -> None:
    found, report, run = finish(plan_of(tmp_path, clip, {"delay_ms": 600_000.0, "at": 7, "of": "left"}))
    assert_whole(found, without=("left", 7))
    assert_balanced(report, run)
    assert report["streams"]["left"]["dropped"] == {"left.crowd": {"error": 1}}
    assert {row[2] for row in found["middle"] if row[0] == 7} == {1}, "the others of its call were run alone"


def test_an_operator_that_gives_too_few_values_loses_nothing(tmp_path: Path, clip: Clip) -> None:
    found, _, run = finish(plan_of(tmp_path, clip, {"delay_ms": 20.0, "how": "few"}))
    assert run.failed is None
    assert_whole(found)


@pytest.mark.parametrize("on_error", ["restart", "skip"])
def test_a_frame_that_kills_a_batch_and_then_by_itself_is_poison(tmp_path: Path, clip: Clip, on_error: str) -> None:
    """The first death is of three frames at once; each is tried alone; the second is the guilty one's, and nobody else's."""
    config = {"delay_ms": 600_000.0, "at": 11, "of": "middle", "how": "kill"}
    found, report, run = finish(plan_of(tmp_path, clip, config, on_error, workers="processes"))
    assert_whole(found, without=("middle", 11))
    assert_balanced(report, run)
    assert [(one["node"], one["stream"], one["seq"]) for one in report["poison"]] == [("middle.crowd", "middle", 11)]
    assert max(worker["restarts"] for worker in report["workers"]) == 2
    assert any("on 3 frames at once" in problem for problem in report["problems"])


def test_random_kills_while_frames_go_together() -> None:
    steps = tuple(Step("test.look", (place,), "shared 0", wait_ms=1.0) for place in range(3))
    graph = Graph((Source(150, 25), Source(100, 25), Source(120, 10)), steps, together=3, delay_ms=3.0)
    assert [batch.chains for lane in graph.plan(None).lanes for batch in lane.batches] != []
    report = play(graph, workers="processes", link="auto", seed=3, kills=4)
    nodes = report["nodes"].values()
    assert sum(node["calls"] for node in nodes) < sum(node["runs"] for node in nodes)
