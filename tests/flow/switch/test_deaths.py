"""Who dies when, while plans change: every frame still comes once and in order, and the proof is right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.plan.value import Plan

from .conftest import Reader, in_order, levels, live_plan, running, sums
from .test_reload import xs

pytestmark = pytest.mark.usefixtures("operators")

Write = Callable[..., Path]
STAYS = """
look: {op: test.look, in: {image: camera}, config: {wait_ms: 1.5}}
count: {op: test.count, in: {points: look}}
"""
CHANGES = """
look: {{op: test.look, in: {{image: camera}}, config: {{wait_ms: 1.5}}}}
frail: {{op: test.frail, in: {{points: look}}, config: {{wait_s: {wait}}}}}
sum: {{op: test.sum, in: {{points: frail}}}}
"""
KEPT = {"source": 0, "middle": 1, "tail": 2}
"""Lanes that run on: the middle feeds the tail, and who leaves or comes."""
Case = tuple[str, str, str]
"""Victim, event, and whether the victim (`own`) tells it, or dies before it is heard (`unheard`), or somebody else tells it (`other`)."""
TELLS = {
    "begun": (), "prepared": ("source", "middle", "tail"), "crossed": ("source",), "left": ("leaving",), "inherited": ("coming",),
    "passed": ("source", "middle", "tail"), "retired": ("source", "middle", "tail"),
}  # fmt: skip
"""Who tells what, in the order of a switch."""
IN_TURN = [
    ("source", "at", "own"), ("source", "held", "unheard"), ("source", "waits", "own"), ("source", "waits", "unheard"),
    ("source", "crossed", "unheard"), ("middle", "begun", "other"), ("middle", "waits", "other"), ("middle", "crossed", "other"),
    ("tail", "waits", "other"), ("leaving", "begun", "other"), ("leaving", "waits", "other"), ("coming", "crossed", "other"),
    ("coming", "inherited", "unheard"),
]  # fmt: skip
"""Where what leaves is stopped before what comes is started: sources stop meanwhile."""
ZMQ = [
    ("source", "crossed", "unheard"), ("source", "passed", "own"), ("source", "left", "other"), ("middle", "crossed", "other"),
    ("middle", "passed", "unheard"), ("tail", "crossed", "other"), ("leaving", "left", "unheard"), ("coming", "crossed", "other"),
    ("coming", "inherited", "unheard"),
]  # fmt: skip


def whenever(victim: str) -> list[Case]:
    """Every step; who leaves is gone at the last."""
    return [
        (victim, event, how)
        for event, tellers in TELLS.items()
        for how in (("own", "unheard") if victim in tellers else ("other",))
        if (victim, event) != ("leaving", "retired")
    ]


class Death:
    """Kills a worker once, in the supervisor's thread, when something is told."""

    def __init__(self, run: flow.Executor, case: Case) -> None:
        supervisor: Any = run._supervisor
        self.change = supervisor.change
        self.victim, self.event, self.how = case
        self.done = False
        self._handle, self._merge = type(self.change).handle, type(self.change._switching)._merge

    def __enter__(self) -> Death:
        self.change.handle = self.handle
        self.change._switching._merge = self.merge
        return self

    def __exit__(self, *_: object) -> None:
        del self.change.handle, self.change._switching._merge

    def is_victim(self, worker: Any) -> bool:
        stage = self.change.stage
        lanes = {"leaving": stage.succession.leaving, "coming": stage.succession.coming}
        return worker.seat.lane in lanes.get(self.victim, {KEPT.get(self.victim)})

    def merge(self, stage: Any) -> None:
        self._merge(self.change._switching, stage)
        if self.event == "begun":
            self.kill()

    def handle(self, worker: Any, event: dict[str, Any]) -> bool:
        if not self.done and event["event"] == self.event and (self.how == "other") != self.is_victim(worker):
            self.kill()
            if self.how == "unheard":
                return True
        return bool(self._handle(self.change, worker, event))

    def kill(self) -> None:
        for worker in self.change.supervisor.workers.values():
            if self.is_victim(worker):
                worker.kill()
                assert worker.join(10.0)
                self.done = True


def die_at(run: flow.Executor, reader: Reader, plans: list[Plan], cases: list[Case], *, beside: bool) -> list[int]:
    """A switch for each case; gives the first frame of each new plan."""
    firsts = []
    reader.wait_for("add.sum", 10)
    for number, case in enumerate(cases):
        what = "{} dies at {} ({})".format(*case)
        run.stage(plans[(number + 1) % 2], beside=beside, timeout_s=60)
        with Death(run, case) as death:
            try:
                proof = run.switch(timeout_s=60)
            except TimeoutError:
                pytest.fail(f"{what}: the switch does not end")
        assert death.done, what
        assert proof.first_new["camera"] == proof.last_old["camera"] + 1, what
        assert (proof.lost, set(proof.carried), set(proof.reset)) == (0, {"add.sum"}, set()), what
        firsts.append(proof.first_new["camera"])
        for output in ("add.sum", "stays.count"):
            reader.wait_for(output, firsts[-1] + 1)
            found = [result.seq for result in list(reader.results[output])]
            assert found == list(range(len(found))), what
    return firsts


def two_plans(write: Write, source: str, **options: Any) -> list[Plan]:
    bind = {"stays.camera": source, "add.camera": source}
    stays = write("stays", STAYS, {"count": "count"})
    return [live_plan(stays, write("add", CHANGES.format(wait=wait), {"sum": "sum"}), bind=bind, **options) for wait in (0.0, 0.001)]


@pytest.mark.parametrize(
    ("cases", "beside", "link"),
    [
        *(pytest.param(whenever(victim), True, "auto", id=victim) for victim in ("source", "middle", "tail", "leaving", "coming")),
        pytest.param(IN_TURN, False, "auto", id="in turn"),
        pytest.param(ZMQ, True, "zmq", id="zmq"),
    ],
)
@pytest.mark.usefixtures("deaths_are_forgiven")
def test_whoever_dies_at_whichever_step(write: Write, cases: list[Case], beside: bool, link: Any) -> None:
    plans = two_plans(write, "stamps:frames=1000000&fps=25", link=link)
    with running(plans[0]) as (run, reader):
        firsts = die_at(run, reader, plans, cases, beside=beside)
        run.drain()
    report = run.report()
    frames = report["streams"]["camera"]["in"]
    for results in reader.results.values():
        in_order(results, frames)
        assert [result.seq for last, result in pairwise(results) if last.plan != result.plan] == firsts
        assert not any(result.reset for result in results)
    assert xs(reader.results["add.sum"]) == sums(levels(frames))
    assert [result.event[0]["value"] for result in reader.results["stays.count"]] == list(range(1, frames + 1))
    assert [report["outputs"][one][two]["results"] for one, two in (("add", "sum"), ("stays", "count"))] == [frames, frames]
    assert run.leaked_slots == 0
    assert run.failed is None


@pytest.mark.parametrize("victim", ["source", "middle"])
@pytest.mark.usefixtures("deaths_are_forgiven")
def test_a_camera_that_gives_nothing_holds_up_no_switch(write: Write, victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever went over without a frame, and has died since, hears of it again."""
    monkeypatch.setattr("flow.switch.switching.SILENCE_S", 0.2)
    plans = two_plans(write, "stamps:frames=100&fps=0.001&live=1")
    with running(plans[0]) as (run, reader):
        reader.wait_for("add.sum", 1)
        run.stage(plans[1], timeout_s=60)
        with Death(run, (victim, "passed", "unheard")) as death:
            proof = run.switch(timeout_s=60)
        assert death.done
        assert (proof.first_new["camera"], proof.lost) == (-1, 0)
        run.stop()
    assert run.failed is None
