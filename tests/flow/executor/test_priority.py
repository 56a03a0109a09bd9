"""What the priority of a business is worth while frames flow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import flow
import manifests

pytestmark = pytest.mark.usefixtures("operators")


def test_the_more_important_business_has_the_better_place_in_the_kernels_queue(business: Callable[..., Path]) -> None:
    graph = "level: {op: test.level, in: {image: camera}, config: {burn_ms: 5}}"
    paths = [
        business(graph, {"level": "level"}, name="urgent", priority=90),
        business(graph.replace("5}", "6}"), {"level": "level"}, name="later", priority=20),
    ]
    camera = "synthetic:pets?size=64x48&fps=30"
    plan = flow.make_plan(
        manifests.load(*paths, bind={"urgent.camera": camera, "later.camera": f"{camera}&seed=2"}), cores=2, workers="processes"
    )
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with flow.Executor(plan) as run:
        seen: set[str] = set()
        for result in run.results():
            seen.add(result.business)
            if len(seen) == 2:
                break
        assert run._supervisor is not None
        steps = {
            plan.lanes[worker.seat.lane].name: os.getpriority(os.PRIO_PROCESS, worker.pid) - own
            for worker in run._supervisor.workers.values()
            if worker.pid is not None
        }
    assert steps["urgent"] == 0
    assert steps["later"] == 14, "seventy points are fourteen steps"


def test_lanes_step_back_by_the_most_important_of_their_businesses(business: Callable[..., Path]) -> None:
    from flow.plan.priority import niceness

    paths = [
        business("level: {op: test.level, in: {image: camera}}", {"level": "level"}, name="urgent", priority=90),
        business(
            "count: {op: test.count, in: {points: level}}\nlevel: {op: test.level, in: {image: camera}}",
            {"n": "count"},
            name="later",
            priority=20,
        ),
    ]
    deployment = manifests.load(*paths, bind={"urgent.camera": "synthetic:pets", "later.camera": "synthetic:pets"})
    plan = flow.make_plan(deployment, cores=2, workers="processes")
    assert {lane.name: niceness(plan, lane) for lane in plan.lanes if lane.name in ("urgent", "later")} == {"urgent": 0, "later": 14}
    assert all(niceness(plan, lane) == 0 for lane in plan.lanes if lane.name != "later"), "what both need is not slowed"
    threads = flow.make_plan(deployment, cores=2, workers="threads")
    assert {niceness(threads, lane) for lane in threads.lanes} == {0}
