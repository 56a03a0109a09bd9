"""A candidate beside what runs: it is compared, it disturbs nothing, and whatever happens to it happens to it alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.plan.codec import decode_plan, encode_plan
from flow.plan.priority import MOST, niceness
from flow.plan.shadow import apart, beside, compared
from flow.plan.value import Plan, Sample
from flow.switch.health import Since, measured
from flow.switch.shadow import ShadowRun, one_in

from .conftest import Reader, in_order, levels, live_plan, running, sums
from .test_reload import xs

pytestmark = pytest.mark.usefixtures("operators")

Write = Callable[..., Path]
SUM = """
look: {op: test.look, in: {image: camera}, config: {wait_ms: 0.1}}
sum: {op: test.sum, in: {points: look}}
"""
LEVEL = "level: {{op: test.level, in: {{image: camera}}, config: {{work_ms: {work}}}}}"
TROUBLE = LEVEL + (
    "\ntrouble: {{op: test.trouble, in: {{points: level}}, deadline_ms: {deadline}, "
    "config: {{at: -1, every: {every}, how: {how}, once: false}}}}"
)


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def plan(write: Write, graph: str, output: str = "level", *, live: int = 0, frames: int = 100_000, **options: Any) -> Plan:
    """Two businesses on one stream; `graph` is that of the one that is to change."""
    source = f"stamps:frames={frames}&fps=100&live={live}"
    paths = write("add", SUM, {"sum": "sum"}), write("level", graph, {"level": output})
    return live_plan(*paths, bind={"add.camera": source, "level.camera": source}, **{"workers": "processes", **options})


def undisturbed(run: flow.Executor, reader: Reader, now: Plan, *, live: int = 0) -> None:
    """Everything that runs came as if it had been alone."""
    assert set(reader.results) == {"add.sum", "level.level"}
    for results in reader.results.values():
        if not live:
            in_order(results)
        assert [result.seq for result in results] == sorted({result.seq for result in results})
        assert not any(result.reset for result in results)
        assert {result.plan for result in results} == {now.digest}
    if not live:
        found = xs(reader.results["add.sum"])
        assert found == sums(levels(len(found)))
    assert {node.address for node in run.running_plan.nodes} == {node.address for node in now.nodes}
    assert run.failed is None
    assert run.problems == []
    assert run.counters()["restarts"] == 0
    assert run.leaked_slots == 0


@pytest.mark.parametrize(("workers", "link", "live"), [("processes", "auto", 0), ("processes", "auto", 1), ("threads", "zmq", 0)])
def test_it_is_compared_and_nothing_is_lost_or_changed(write: Write, workers: str, link: str, live: int) -> None:
    now, then = (plan(write, LEVEL.format(work=work), live=live, workers=workers, link=link) for work in (0, 0.01))
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=0.5, cpu=10.0, seconds=1.0 if live else 600.0)
        assert run.running_plan.digest == now.digest
        assert len(run.running_plan.nodes) == len(now.nodes) + 1
        wait_until(lambda: shadow.figures().outputs["level.level"].frames > 20 and (not live or shadow.figures().state == "done"))
        shadow.end()
        figures = shadow.figures()
        assert (figures.state, figures.why) == (("done", "") if live else ("ended", "it was no longer wanted"))
        after = max(map(reader.count, reader.results)) + 20
        wait_until(lambda: min(map(reader.count, reader.results)) > after)
        run.drain()
    told = figures.outputs["level.level"]
    assert told.agreement == 1.0
    assert set(told.latency_ms) == set(told.trial_latency_ms) == {"p50", "p99"}
    assert figures.every == 2
    assert figures.memory_bytes > 0
    undisturbed(run, reader, now, live=live)
    assert measured(run, Since())["errors"] == 0


@pytest.mark.parametrize(("how", "why"), [("raise", "asked to raise"), ("kill", "SIGKILL"), ("hang", "its deadline is 300 ms")])
def test_a_candidate_that_fails_ends_alone(write: Write, how: str, why: str) -> None:
    workers = "threads" if how == "raise" else "processes"
    now = plan(write, LEVEL.format(work=0), workers=workers)
    graph = TROUBLE.format(work=0, every=40, how=how, deadline=300 if how == "hang" else 60_000)
    then = plan(write, graph, "trouble", workers=workers)
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=0.5, cpu=10.0, seconds=600.0)
        wait_until(lambda: shadow.figures().state == "ended")
        shadow.end()
        assert why in shadow.figures().why
        after = max(map(reader.count, reader.results)) + 20
        wait_until(lambda: min(map(reader.count, reader.results)) > after)
        assert measured(run, Since())["errors"] == 0
        run.drain()
    undisturbed(run, reader, now)


def test_a_candidate_that_needs_too_much_gets_fewer_frames_and_then_none(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.switch.shadow.SETTLE_S", 0.5)
    now, then = (plan(write, LEVEL.format(work=work), workers="threads") for work in (0, 40))
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=1.0, cpu=0.2, seconds=600.0)
        wait_until(lambda: shadow.figures().every > 1)
        assert shadow.figures().state == "running"
        shadow.end()
        starved = ShadowRun(run, then, 2, share=1.0, cpu=1e-9, seconds=600.0)
        wait_until(lambda: starved.figures().state == "ended")
        starved.end()
        assert "expected to need at most 0% of a core" in starved.figures().why
        run.drain()
    undisturbed(run, reader, now)


def test_what_changes_nothing_is_not_run(write: Write) -> None:
    now = plan(write, LEVEL.format(work=0), workers="threads")
    with running(now) as (run, _):
        shadow = ShadowRun(run, plan(write, LEVEL.format(work=0), workers="threads"), 1)
        assert (shadow.figures().state, shadow.figures().outputs) == ("done", {})
        assert run.running_plan is now
        shadow.end()
        run.stop()


def test_equal_work_is_not_shared_and_what_runs_keeps_its_place(write: Write) -> None:
    now, then = (plan(write, TROUBLE.format(work=work, every=0, how="none", deadline=300), "trouble") for work in (0, 1))
    both = beside(now, then, every=7)
    assert both.digest == now.digest
    for part in ("nodes", "sinks", "chains", "lanes", "edges"):
        own, grown = getattr(now, part), getattr(both, part)
        assert grown[: len(own)] == own
    new = both.nodes[len(now.nodes) :]
    assert [node.names for node in new] == [("level~shadow.level",), ("level~shadow.trouble",)]
    assert not {node.address for node in new} & {node.address for node in (*now.nodes, *then.nodes)}
    (lane,) = both.lanes[len(now.lanes) :]
    assert (lane.shadow, niceness(both, lane)) == (True, MOST)
    sampled = [edge for edge in both.edges if edge.sample is not None]
    assert [(edge.sample, edge.policy) for edge in sampled] == [(Sample(7), "latest")]
    slots = {pool.chain: pool.slots for pool in now.pools}
    assert all(pool.slots == slots[pool.chain] + sampled[0].capacity + 1 for pool in both.pools)
    assert decode_plan(encode_plan(both)) == both


@pytest.mark.parametrize(("share", "every"), [(1.0, 1), (0.7, 2), (0.5, 2), (0.4, 3), (0.1, 10), (0.001, 1000)])
def test_a_share_is_never_exceeded(share: float, every: int) -> None:
    assert one_in(share) == every


def test_of_a_stream_that_leaves_frames_out_the_share_is_of_those_that_are_left(write: Write) -> None:
    def thinned(work: float) -> Plan:
        made = plan(write, LEVEL.format(work=work))
        return replace(made, streams=tuple(replace(stream, policy="every", every=2) for stream in made.streams))

    (sampled,) = [edge.sample for edge in beside(thinned(0), thinned(1), every=3).edges if edge.sample is not None]
    assert [seq for seq in range(0, 24, 2) if sampled.takes(seq, 0)] == [0, 6, 12, 18]


def test_what_is_no_record_is_named_and_not_compared(write: Write) -> None:
    def drawn(work: float) -> Plan:
        return plan(write, LEVEL.format(work=work), out={"level.level": ["level.mp4"], "add.sum": ["results:"]})

    assert (compared(drawn(0), drawn(1)), apart(drawn(0), drawn(1))) == ([], ("level.level",))


def test_workers_that_are_busy_all_the_time_are_no_obstacle(write: Write) -> None:
    paths = [write(f"v{place}", LEVEL.format(work=5 + place), {"level": "level"}) for place in range(2)]
    texts = [path.read_text().replace(f"name: v{place}", "name: level") for place, path in enumerate(paths)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    now, then = (live_plan(path, bind={"camera": "stamps:frames=100000"}, workers="processes") for path in paths)
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=0.5, cpu=64.0, seconds=600.0)
        wait_until(lambda: shadow.figures().outputs["level.level"].frames > 5)
        shadow.end()
        run.drain()
    in_order(reader.results["level.level"])


def test_workers_that_die_beside_it_lose_nothing(write: Write) -> None:
    now, then = (plan(write, LEVEL.format(work=work)) for work in (0.5, 0.6))
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=0.5, cpu=64.0, seconds=600.0)
        supervisor: Any = run._supervisor

        def compared() -> int:
            return shadow.figures().outputs["level.level"].frames

        for worker in [worker for worker in supervisor.workers.values() if not supervisor.shadow.has(worker)]:
            wanted = compared() + 10
            worker.kill()
            wait_until(partial(lambda least: compared() > least, wanted))
        shadow.end()
        assert shadow.figures().outputs["level.level"].agreement == 1.0
        assert run.counters()["restarts"] == 3
        run.drain()
    for results in reader.results.values():
        in_order(results)
    assert run.failed is None
    assert run.leaked_slots == 0


def test_a_stream_that_ends_ends_it(write: Write) -> None:
    now, then = (plan(write, LEVEL.format(work=work), frames=400, workers="threads") for work in (4.0, 4.1))
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=1.0, cpu=64.0, seconds=600.0)
        wait_until(lambda: shadow.figures().state == "ended")
        shadow.end()
        assert run.ended
    for results in reader.results.values():
        in_order(results, 400)
    assert run.leaked_slots == 0
