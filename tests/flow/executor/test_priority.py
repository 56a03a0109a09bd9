"""What the priority of a business is worth while frames flow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flow
import manifests

pytestmark = pytest.mark.usefixtures("operators")


@pytest.fixture
def one_core() -> Iterator[None]:
    """Everything that is started meanwhile shares one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
def test_the_more_important_business_keeps_its_rate_when_the_core_is_short(business: Callable[..., Path]) -> None:
    graph = "level: {op: test.level, in: {image: camera}, config: {burn_ms: 30}}"
    paths = [
        business(graph, {"level": "level"}, name="urgent", priority=90),
        business(graph.replace("30", "31"), {"level": "level"}, name="later", priority=20),
    ]
    camera = "synthetic:pets?size=64x48&fps=30&frames=90"
    plan = flow.make_plan(
        manifests.load(*paths, bind={"urgent.camera": camera, "later.camera": f"{camera}&seed=2"}), cores=2, workers="processes"
    )
    with flow.Executor(plan) as run:
        assert run.wait(120)
    urgent, later = (run.report()["outputs"][name]["level"]["results"] for name in ("urgent", "later"))
    assert urgent > 2 * later > 0, "twice the core's time is wanted, and seventy points are fourteen steps"


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
