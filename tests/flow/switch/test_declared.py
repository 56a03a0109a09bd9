"""Where two plans do not fit at once that is said beforehand, with the gap; frames are lost in that gap, of cameras, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flow.plan.admit import WORKER_BYTES
from flow.plan.value import Plan
from flow.switch.runtime import ExecutorRuntime
from manifests.sync.runtime import Release

from .conftest import in_order, live_plan, running
from .test_reload import summing

pytestmark = pytest.mark.usefixtures("operators")

PLENTY = 1 << 40


def test_a_sequential_swap_costs_what_it_declares(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = "level: {op: test.look, in: {image: file}}\ncount: {op: test.count, in: {points: level}, config: {saves: false}}"
    stays = write("stays", graph, {"count": "count"}, ("file",))
    bind = {"camera": "stamps:frames=100000&fps=100&live=1", "file": "stamps:frames=100000&fps=25&width=48"}

    def planned(wait: float) -> Plan:
        return live_plan(stays, summing(write, wait), bind=bind, workers="processes")

    plans = {"2": planned(0.1), "3": planned(0.2)}
    with running(planned(0.0)) as (run, reader):
        runtime = ExecutorRuntime(run, plan=lambda paths, _: plans[paths[0].name])
        reader.wait_for("add.sum", 3)
        before = run.running_plan.digest, {worker.pid for worker in run._supervisor.workers.values()}

        release = Release(2, "2", (Path("2"),))
        monkeypatch.setattr("flow.switch.runtime.available_memory", lambda: WORKER_BYTES)
        declared = runtime.admit(release)
        assert (declared.admitted, declared.beside) == (True, False)
        assert declared.gap_s > 0
        assert runtime.stage(release).ready
        assert (run.running_plan.digest, {worker.pid for worker in run._supervisor.workers.values()}) == before, "only said so far"
        swapped = runtime.switch(2)
        reader.wait_for("add.sum", reader.count("add.sum") + 3)

        release = Release(3, "3", (Path("3"),))
        monkeypatch.setattr("flow.switch.runtime.available_memory", lambda: PLENTY)
        assert runtime.admit(release).beside
        assert runtime.admit(release).gap_s == 0
        assert runtime.stage(release).ready
        assert runtime.switch(3).lost == 0, "no gap was declared"
        run.drain()

    assert set(swapped.kept) >= {"stays.count", "stays.level"}
    assert swapped.reset == {}
    assert (swapped.carried, swapped.added) == (("add.sum",), ("add.look",))
    in_order(reader.results["stays.count"])
    assert not any(result.reset for results in reader.results.values() for result in results)
    dropped = run.report()["streams"]["camera"]["dropped"].get("camera", {})
    assert dropped.keys() <= {"switch", "latest"}
    assert dropped["switch"] == swapped.lost
    seqs = [result.seq for result in reader.results["add.sum"]]
    assert seqs == sorted(set(seqs))
    missing = set(range(seqs[-1])) - set(seqs)
    last, first = swapped.last_old["camera"], swapped.first_new["camera"]
    after = next(seq for seq in seqs if seq > first)  # the first one waited for the new plan; those that came meanwhile were lost
    gap = missing & set(range(last + 1, after))
    assert 0 < swapped.lost <= len(gap)
    assert len(missing - gap) <= dropped.get("latest", 0), "outside of the gap only a slow machine loses frames"
