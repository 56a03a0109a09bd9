"""Who dies when, while plans change: every frame still comes once and in order, and the proof is right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import flow

from .conftest import in_order, levels, live_plan, running, sums
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
"""Lanes: the middle feeds the tail, which is kept as they are, and who leaves or comes."""
TELLS = {
    "prepared": ("source", "middle", "tail"), "at": ("source",), "held": ("source",), "waits": ("source",), "crossed": ("source",),
    "left": ("leaving",), "inherited": ("coming",), "passed": ("source", "middle", "tail"), "retired": ("source", "middle", "tail"),
}  # fmt: skip
"""Who tells what, in the order of a switch."""
BESIDE = ("prepared", "crossed", "left", "inherited", "passed", "retired")
IN_TURN = ("prepared", "at", "held", "waits", "crossed", "inherited", "passed", "retired")
Moment = tuple[str, str]
"""An event, and whether the victim (`own`) tells it, or dies before it is heard (`unheard`), or somebody else tells it (`other`)."""


def moments(victim: str, events: tuple[str, ...]) -> list[Moment]:
    found: list[Moment] = [("begun", "other")]
    for event in events:
        if victim in TELLS[event]:
            found += [(event, "own"), (event, "unheard")]
        if set(TELLS[event]) - {victim}:
            found.append((event, "other"))
    return found


class Death:
    """Kills a worker once, in the supervisor's thread, when something is told."""

    def __init__(self, run: flow.Executor, victim: str, moment: Moment) -> None:
        self.change: Any = run._supervisor.change  # type: ignore[union-attr]
        self.victim, (self.event, self.how) = victim, moment
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


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deaths that come from outside are nobody's fault, however many."""
    monkeypatch.setattr("flow.executor.supervisor.MOST_RESTARTS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_OPENINGS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_DEATHS", 1000)
    monkeypatch.setattr("flow.executor.workers.BACKOFF_MOST_S", 0.0)


def die_at(run: flow.Executor, reader: Any, plans: list[Any], victim: str, when: list[Moment], *, beside: bool) -> list[int]:
    """A switch for each moment; gives the first frame of each new plan."""
    firsts = []
    reader.wait_for("add.sum", 10)
    for number, moment in enumerate(when):
        case = f"{victim} dies at {moment}"
        run.stage(plans[(number + 1) % 2], beside=beside, timeout_s=60)
        with Death(run, victim, moment) as death:
            try:
                proof = run.switch(timeout_s=30)
            except TimeoutError:
                pytest.fail(f"{case}: the switch does not end")
        assert death.done, case
        assert proof.first_new["camera"] == proof.last_old["camera"] + 1 > 0, case
        assert (proof.lost, set(proof.carried), set(proof.reset)) == (0, {"add.sum"}, set()), case
        firsts.append(proof.first_new["camera"])
        for output in ("add.sum", "stays.count"):
            reader.wait_for(output, firsts[-1] + 1)
            found = [result.seq for result in list(reader.results[output])]
            assert found == list(range(len(found))), case
    return firsts


@pytest.mark.parametrize("victim", ["source", "middle", "tail", "leaving", "coming"])
@pytest.mark.parametrize(("beside", "link"), [(True, "auto"), (True, "zmq"), (False, "auto")])
@pytest.mark.usefixtures("patient")
def test_whoever_dies_at_whichever_step(write: Write, victim: str, beside: bool, link: Any) -> None:
    bind = {"stays.camera": "stamps:frames=1000000&fps=25", "add.camera": "stamps:frames=1000000&fps=25"}
    stays = write("stays", STAYS, {"count": "count"})
    plans = [live_plan(stays, write("add", CHANGES.format(wait=wait), {"sum": "sum"}), bind=bind, link=link) for wait in (0.0, 0.001)]
    when = moments(victim, BESIDE if beside else IN_TURN)
    gone = IN_TURN[4:] if not beside else IN_TURN[-1:]
    there = IN_TURN[:4] if not beside else ()
    skipped = {"leaving": gone, "coming": ("begun", *there)}.get(victim, ()) if not beside or victim == "leaving" else ()
    when = [moment for moment in when if moment[0] not in skipped]
    with running(plans[0]) as (run, reader):
        firsts = die_at(run, reader, plans, victim, when, beside=beside)
        run.drain()
    frames = run.report()["streams"]["camera"]["in"]
    for results in reader.results.values():
        in_order(results, frames)
        assert [result.seq for last, result in pairwise(results) if last.plan != result.plan] == firsts
        assert not any(result.reset for result in results)
    assert xs(reader.results["add.sum"]) == sums(levels(frames))
    assert [result.event[0]["value"] for result in reader.results["stays.count"]] == list(range(1, frames + 1))
    report = run.report()
    assert [report["outputs"]["add"]["sum"]["results"], report["outputs"]["stays"]["count"]["results"]] == [frames, frames]
    assert run.leaked_slots == 0
    assert run.failed is None
