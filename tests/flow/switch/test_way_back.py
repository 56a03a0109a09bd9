"""The way back, and the swap where two plans do not fit at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.switch.error import SwitchError

from .conftest import in_order, levels, live_plan, running, sums
from .test_failures import frail
from .test_reload import summing, xs

pytestmark = pytest.mark.usefixtures("operators")

Write = Callable[..., Path]


@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_what_was_kept_warm_is_used_on_the_way_back(write: Write, workers: Any) -> None:
    bind = {"camera": "stamps:frames=600&fps=25"}
    old, new = (live_plan(summing(write, wait), bind=bind, workers=workers) for wait in (4.0, 4.1))
    with running(old) as (run, reader):
        supervisor: Any = run._supervisor
        first = {worker.pid for worker in supervisor.workers.values()}
        run.stage(new)
        run.switch(keep_previous=True)
        assert len(supervisor.change.spares.resting) == 1
        run.stage(old)
        assert not supervisor.change.spares.resting
        back = run.switch(keep_previous=True)
        assert {worker.pid for worker in supervisor.workers.values()} == first
        run.settle()
        assert not supervisor.change.spares.resting
    assert back.carried == ("add.sum",)
    results = reader.results["add.sum"]
    in_order(results, 600)
    assert xs(results) == sums(levels(600))
    plans = [result.plan for result in results]
    assert [plan for place, plan in enumerate(plans) if not place or plan != plans[place - 1]] == [old.digest, new.digest, old.digest]
    assert run.leaked_slots == 0


@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_where_two_do_not_fit_files_wait(write: Write, workers: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options: dict[str, Any] = {"bind": {"camera": "stamps:frames=400&fps=25"}, "out": {"sum": [str(out)]}, "workers": workers}
    plans = [live_plan(summing(write, wait), **options) for wait in (4.0, 4.1)]
    with flow.Executor(plans[0]) as run:
        assert run.wait_running(60)
        before = len(run._supervisor.workers)
        run.stage(plans[1], beside=False)
        assert len(run._supervisor.workers) == before
        proof = run.switch()
        run.wait()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(400))
    assert [round(row["points"][0]["point"][0]) for row in rows] == sums(levels(400))
    assert proof.carried == ("add.sum",)
    assert proof.lost == 0
    assert run.leaked_slots == 0


def test_where_two_do_not_fit_frames_of_a_camera_are_dropped_and_counted(write: Write) -> None:
    bind = {"camera": "stamps:frames=100000&fps=50&live=1"}
    plans = [live_plan(summing(write, wait), bind=bind) for wait in (0.0, 0.1)]
    with running(plans[0]) as (run, reader):
        reader.wait_for("add.sum", 3)
        run.stage(plans[1], beside=False)
        proof = run.switch()
        reader.wait_for("add.sum", reader.count("add.sum") + 3)
        run.drain()
    results = reader.results["add.sum"]
    seqs = [result.seq for result in results]
    assert seqs == sorted(set(seqs))
    assert proof.first_new["camera"] > proof.last_old["camera"]
    stream = run.report()["streams"]["camera"]
    dropped = stream["dropped"].get("camera", {})
    assert dropped.get("switch", 0) == proof.lost
    assert stream["in"] == len(results) + sum(dropped.values())
    assert {result.plan for result in results} == {plan.digest for plan in plans}


def test_a_swap_that_fails_brings_the_old_plan_back(write: Write) -> None:
    bind = {"camera": "stamps:frames=400&fps=25"}
    plans = [live_plan(frail(write, how), bind=bind) for how in ("none", "raise")]
    with running(plans[0]) as (run, reader):
        run.stage(plans[1], beside=False)
        with pytest.raises(SwitchError, match="asked not to open"):
            run.switch()
        with pytest.raises(SwitchError, match="stage it first"):
            run.switch()
    results = reader.results["add.sum"]
    in_order(results, 400)
    assert xs(results) == sums(levels(400))
    assert not any(result.reset for result in results)
    assert {result.plan for result in results} == {plans[0].digest}
    assert run.leaked_slots == 0
