"""Reloads while frames flow: every frame once and in order, state and outputs go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.executor.workers import Worker
from flow.switch.change import PlanChange
from flow.switch.error import SwitchError

from .conftest import in_order, levels, live_plan, running, sums

pytestmark = pytest.mark.usefixtures("operators")

Write = Callable[..., Path]
SUM = """
look: {{op: test.look, in: {{image: camera}}, config: {{wait_ms: {wait}}}}}
sum: {{op: test.sum, in: {{points: look}}}}
"""


def summing(write: Write, wait: float, name: str = "add", **options: Any) -> Path:
    return write(name, SUM.format(wait=wait), {"sum": "sum"}, **options)


def xs(results: list[Any]) -> list[int]:
    return [round(result.points[0]["point"][0]) for result in results]


def reload_until_the_end(run: flow.Executor, plans: list[Any]) -> list[Any]:
    """Switches from one plan to the next as fast as possible, until the run is over."""
    proofs: list[Any] = []
    try:
        while True:
            run.stage(plans[(len(proofs) + 1) % len(plans)], timeout_s=60)
            proofs.append(run.switch(timeout_s=60))
    except SwitchError as error:
        message = str(error)
    assert "ended" in message
    return proofs


@pytest.mark.parametrize(("workers", "link", "fill"), [("processes", "auto", 0), ("processes", "auto", 1), ("threads", "zmq", 0)])
def test_a_file_loses_and_doubles_nothing_however_often_its_plan_changes(write: Write, workers: Any, link: Any, fill: int) -> None:
    frames = 400
    source = f"stamps:frames={frames}&fps=25&fill={fill}"
    plans = [live_plan(summing(write, wait), bind={"camera": source}, workers=workers, link=link) for wait in (4.0, 4.1)]
    with running(plans[0]) as (run, reader):
        proofs = reload_until_the_end(run, plans)
    results = reader.results["add.sum"]
    in_order(results, frames)
    assert xs(results) == sums(levels(frames))
    assert not any(result.reset for result in results)
    assert {result.plan for result in results} == {plan.digest for plan in plans}
    assert proofs
    for proof in proofs:
        assert proof.carried == ("add.sum",)
        assert proof.added == proof.removed == ("add.look",)
        assert proof.first_new["camera"] in (proof.last_old["camera"] + 1, -1)
        assert proof.lost == 0
    assert run.leaked_slots == 0
    assert run.failed is None
    assert run.report()["outputs"]["add"]["sum"]["results"] == frames


def test_rows_tell_which_plan_made_them_and_a_file_goes_on(write: Write, tmp_path: Path) -> None:
    frames, out = 400, tmp_path / "out.jsonl"
    options = {"bind": {"camera": f"stamps:frames={frames}"}, "out": {"sum": [str(out)]}, "workers": "processes"}
    plans = [live_plan(summing(write, wait), **options) for wait in (4.0, 4.1)]
    with flow.Executor(plans[0]) as run:
        assert run.wait_running(60)
        proofs = reload_until_the_end(run, plans)
        run.wait()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(frames))
    assert [round(row["points"][0]["point"][0]) for row in rows] == sums(levels(frames))
    changes = [row["seq"] for last, row in pairwise(rows) if last["plan"] != row["plan"]]
    assert changes == [proof.first_new["camera"] for proof in proofs if proof.first_new["camera"] >= 0]
    assert run.report()["outputs"]["add"]["sum"]["results"] == frames


def test_fifty_reloads_of_what_two_businesses_share_under_a_camera(write: Write) -> None:
    def businesses(wait: float) -> list[Path]:
        one = write("one", SUM.format(wait=wait), {"sum": "sum"})
        two = write("two", SUM.format(wait=wait).replace("sum: {op: test.sum", "count: {op: test.count"), {"count": "count"})
        return [one, two]

    source = "stamps:frames=100000&fps=25&live=1"
    bind = {"one.camera": source, "two.camera": source}
    plans = [live_plan(*businesses(wait), bind=bind) for wait in (0.0, 0.1)]
    shared = next(node for node in plans[0].nodes if node.op == "test.look")
    assert len(shared.businesses) == 2
    with running(plans[0]) as (run, reader):
        for number in range(50):
            run.stage(plans[(number + 1) % 2], timeout_s=60)
            proof = run.switch(timeout_s=60)
            assert proof.lost == 0
            assert set(proof.carried) == {"one.sum", "two.count"}
        pids = [worker.pid for worker in run._supervisor.workers.values() if worker.pid is not None]
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in pids} == {os.getpriority(os.PRIO_PROCESS, 0)}  # stepped back only to load
        run.drain()
    for results in reader.results.values():
        seqs = [result.seq for result in results]
        assert seqs == sorted(set(seqs))
        assert not any(result.reset for result in results)
    one, two = reader.results["one.sum"], reader.results["two.count"]
    stream = run.report()["streams"]
    assert {name for each in stream.values() for place in each["dropped"].values() for name in place} <= {"latest"}  # of a slow machine
    assert [result.seq for result in one] == [result.seq for result in two]
    assert [result.event[0]["value"] for result in two] == list(range(1, len(two) + 1))
    assert run.leaked_slots == 0


def test_pure_operators_that_come_are_run_once_before_their_first_frame_and_that_is_no_frame(write: Write) -> None:
    graph = "seen: {{op: test.rehearsed, in: {{image: camera}}, config: {{why: {why}}}}}\ncount: {{op: test.count, in: {{points: seen}}}}"
    source = "stamps:frames=100000&fps=100&live=1"
    plans = [
        live_plan(write("add", graph.format(why=why), {"seen": "seen", "count": "count"}), bind={"add.camera": source}) for why in (0, 1)
    ]
    with running(plans[0]) as (run, reader):
        reader.wait_for("add.seen", 3)
        run.stage(plans[1], timeout_s=60)
        proof = run.switch(timeout_s=60)
        reader.wait_for("add.seen", reader.count("add.seen") + 3)
        run.drain()
    seen, counted = reader.results["add.seen"], reader.results["add.count"]
    assert [round(one.points[0]["point"][0]) for one in seen] == [one.seq >= proof.first_new["camera"] for one in seen]
    assert min(one.seq for one in seen) == 0
    assert [one.event[0]["value"] for one in counted] == list(range(1, len(counted) + 1))
    assert sum(node["runs"] for node in run.report()["nodes"].values() if node["op"] == "test.rehearsed") <= len(seen)


def test_a_camera_goes_over_between_two_frames(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes has inherited, and what leaves is done, before the first frame is there; machines that take long may need a second try."""
    plans = [live_plan(summing(write, wait), bind={"camera": "stamps:frames=100000&fps=3&live=1"}) for wait in (0.0, 0.1)]
    told: list[str] = []
    handle = PlanChange.handle

    def listen(self: PlanChange, worker: Worker, event: dict[str, Any]) -> bool:
        told.append(event["event"])
        return handle(self, worker, event)

    monkeypatch.setattr(PlanChange, "handle", listen)
    early = False
    with running(plans[0]) as (run, reader):
        reader.wait_for("add.sum", 1)
        for number in range(1, 6):
            run.stage(plans[number % 2], timeout_s=60)
            told.clear()
            proof = run.switch(timeout_s=60)
            assert proof.first_new["camera"] == proof.last_old["camera"] + 1
            early = {"left", "inherited"} <= set(told[: told.index("crossed")])
            if early:
                break
        run.drain()
    assert early
    results = reader.results["add.sum"]
    in_order(results)
    assert xs(results) == sums(levels(len(results)))
    assert not any(result.reset for result in results)


def test_what_is_kept_runs_on(write: Write) -> None:
    """One business is changed; the other's worker, which keeps what cannot be saved, is not touched."""
    graph = "level: {op: test.level, in: {image: camera}}\ncount: {op: test.count, in: {points: level}, config: {saves: false}}"
    stays = write("stays", graph, {"count": "count"})
    bind = {"stays.camera": "stamps:frames=300&fps=25", "add.camera": "stamps:frames=300&fps=25"}
    plans = [live_plan(stays, summing(write, wait), bind=bind) for wait in (4.0, 4.1)]
    with running(plans[0]) as (run, reader):
        before = {worker.pid for worker in run._supervisor.workers.values()}
        run.stage(plans[1])
        proof = run.switch()
        after = {worker.pid for worker in run._supervisor.workers.values()}
    assert set(proof.kept) >= {"stays.count", "stays.level"}
    assert len(before & after) >= 2
    assert [result.event[0]["value"] for result in reader.results["stays.count"]] == list(range(1, 301))
    assert {result.plan for result in reader.results["stays.count"]} == {plan.digest for plan in plans}
    assert run.report()["state_resets"] == 0


def test_state_that_cannot_be_carried_is_reset_and_both_say_so(write: Write) -> None:
    graph = """
    look: {{op: test.look, in: {{image: camera}}, config: {{wait_ms: {0}}}}}
    count: {{op: test.count, in: {{points: look}}, config: {{saves: {1}}}}}
    """
    bind = {"camera": "stamps:frames=400&fps=25"}
    cannot = [live_plan(write("probe", graph.format(wait, "false"), {"count": "count"}), bind=bind) for wait in (4.0, 4.1)]
    changed = live_plan(write("probe", graph.format(4.1, "true"), {"count": "count"}), bind=bind)
    with running(cannot[0]) as (run, reader):
        run.stage(cannot[1])
        first = run.switch()
        run.stage(changed)
        second = run.switch()
    assert "does not save" in first.reset["probe.count"]
    assert "settings changed (saves)" in second.reset["probe.count"]
    results = reader.results["probe.count"]
    in_order(results, 400)
    resets = [result.seq for result in results if result.reset]
    assert resets == [first.first_new["camera"], second.first_new["camera"]]
    assert [result.event[0]["value"] for result in results if result.reset] == [1, 1]
    assert run.report()["state_resets"] == 2


@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_streams_of_two_rates_joined_across_switches(write: Write, workers: Any) -> None:
    graph = """
    fast: {{op: test.look, in: {{image: a}}, config: {{wait_ms: {wait}}}}}
    slow: {{op: test.look, in: {{image: b}}}}
    mix: {{op: test.mix, in: {{first: fast, second: slow}}}}
    sum: {{op: test.sum, in: {{points: mix}}}}
    """
    frames, other = 400, 160
    bind = {"a": f"stamps:frames={frames}&fps=25", "b": f"stamps:frames={other}&fps=10&width=48"}
    plans = [
        live_plan(write("meet", graph.format(wait=wait), {"sum": "sum"}, inputs=("a", "b")), bind=bind, workers=workers)
        for wait in (4.0, 4.1)
    ]
    with running(plans[0]) as (run, reader):
        proofs = reload_until_the_end(run, plans)
    results = reader.results["meet.sum"]
    in_order(results, frames)
    slow = levels(other)
    times = [seq * 100_000_000 for seq in range(other)]
    partner = [max(number for number, time in enumerate(times) if time <= seq * 40_000_000) for seq in range(frames)]
    expected = sums([(31 * level + slow[partner[seq]]) % 9973 for seq, level in enumerate(levels(frames))])
    assert xs(results) == expected
    assert proofs
    assert run.leaked_slots == 0


def test_businesses_and_streams_come_and_go(write: Write) -> None:
    base = summing(write, 0.2)
    graph = "look: {op: test.look, in: {image: extra}}\ncount: {op: test.count, in: {points: look}}"
    more = write("more", graph, {"count": "count"}, ("extra",))
    camera, extra = "stamps:frames=100000&fps=100&live=1", "stamps:frames=100000&fps=50&live=1&width=48"
    few = live_plan(base, bind={"camera": camera})
    many = live_plan(base, more, bind={"camera": camera, "extra": extra})
    with running(few) as (run, reader):
        for _ in range(2):
            before = reader.count("more.count")
            run.stage(many)
            assert run.switch().added == ("more.count", "more.look")
            reader.wait_for("more.count", before + 5)
            run.stage(few)
            proof = run.switch()
            assert proof.removed == ("more.count", "more.look")
            assert set(proof.kept) == {"add.look", "add.sum"}
        run.drain()
    assert reader.count("more.count") >= 10
    seqs = [result.seq for result in reader.results["add.sum"]]
    assert seqs == sorted(set(seqs))
    assert not any(result.reset for result in reader.results["add.sum"])
    assert set(run.report()["streams"]) == {"camera"}
