"""A candidate that joins streams beside what runs: both are given the same spans of time, and compared where the same frames met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.plan.codec import decode_plan, encode_plan
from flow.plan.shadow import LEAST_NS, ShadowError, beside
from flow.plan.value import Plan, Sample
from flow.switch.shadow import ShadowRun
from manifests.sync.desired import Shadow
from manifests.sync.shadow import shortcomings

from .conftest import Reader, in_order, levels, live_plan, running
from .test_reload import xs
from .test_shadow import wait_until

pytestmark = pytest.mark.usefixtures("operators")

Write = Callable[..., Path]
MEET = """
fast: {{op: test.look, in: {{image: front}}, config: {{wait_ms: {wait}}}}}
slow: {{op: test.look, in: {{image: side}}}}
mix: {{op: test.mix, in: {{first: fast, second: slow}}}}
"""
OTHER = MEET + "other: {{op: test.sum, in: {{points: mix}}}}"
ALONE = """
look: {op: test.look, in: {image: front}}
sum: {op: test.sum, in: {points: look}}
"""
FAST, SLOW = 100, 40
"""Frames a second."""
SPAN_S = LEAST_NS / 1e9
"""How long a sampled span of these streams is."""


def meet(
    write: Write, wait: float, graph: str = MEET, output: str = "mix", *, streams: str = "front side", live: int = 0, side: str = "",
    **options: Any,
) -> Plan:  # fmt: skip
    """A business whose output joins a fast and a slow stream, and one that reads the fast one alone."""
    paths = (
        write("meet", graph.format(wait=wait), {"meet": output}, inputs=tuple(streams.split())),
        write("alone", ALONE, {"sum": "sum"}, inputs=("front",)),
    )
    sources = {
        "front": f"stamps:frames=100000&fps={FAST}&live={live}",
        "side": f"stamps:frames=100000&fps={SLOW}&width=48&live={live}{side}",
        "rear": f"stamps:frames=100000&fps={SLOW}&width=64&live={live}",
    }
    bind = {f"meet.{stream}": sources[stream] for stream in streams.split()} | {"alone.front": sources["front"]}
    return live_plan(*paths, bind=bind, **{"workers": "processes", **options})


def mixed(frames: int) -> list[int]:
    """What test.mix gives for each frame of the fast stream."""
    slow = levels(frames)
    return [(31 * level + slow[seq * SLOW // FAST]) % 9973 for seq, level in enumerate(levels(frames))]


def sampled_frames(run: flow.Executor, stream: str) -> tuple[int, int]:
    """Frames that were offered to the candidate, and all of the stream that had come by then."""
    plan, counts = run.running_plan, run.counters()
    (source,) = [chain.id for chain in plan.chains if chain.stream == stream]
    offered = [counts[f"edge:{edge.id}.in"] for edge in plan.edges if edge.sample is not None and edge.producer == source]
    return max(offered), run.counters()[f"stream:{stream}.in"]


def undisturbed(run: flow.Executor, reader: Reader, *, live: int = 0) -> None:
    """What runs gave what it gives alone."""
    assert (run.failed, run.problems, run.leaked_slots, run.counters()["restarts"]) == (None, [], 0, 0)
    for results in reader.results.values():
        assert [result.seq for result in results] == sorted({result.seq for result in results})
        assert not any(result.reset for result in results)
        if not live:
            in_order(results)
    if not live:
        results = reader.results["meet.meet"]
        end = (1 + results[-1].inputs[1]["seq"]) * FAST // SLOW  # from here on the slow stream may have been over
        assert xs(results)[:end] == mixed(len(results))[:end]


@pytest.mark.parametrize(("workers", "link", "live", "share"), [("processes", "auto", 1, 0.5), ("threads", "zmq", 0, 0.25)])
def test_one_that_agrees(write: Write, workers: str, link: str, live: int, share: float) -> None:
    """Whatever it had no time for, or met other frames than what runs, is counted and not compared."""
    now, then = (meet(write, wait, live=live, workers=workers, link=link) for wait in (0.1, 0.2))
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=share, cpu=64.0, seconds=600.0)
        wait_until(lambda: shadow.figures().outputs["meet.meet"].frames > 40)
        shares = {stream.name: (sampled_frames(run, stream.name), stream.fps) for stream in now.streams}
        shadow.end()
        after = max(map(reader.count, reader.results)) + 20
        wait_until(lambda: min(map(reader.count, reader.results)) > after)
        run.drain()
    figures = shadow.figures()
    told = figures.outputs["meet.meet"]
    assert told.agreement == 1.0
    assert set(told.latency_ms) == set(told.trial_latency_ms) == {"p50", "p99"}
    assert set(told.missed) <= {"inputs", "only_runs", "only_tried", "unfinished"}
    assert figures.memory_bytes > 0
    for (offered, came), fps in shares.values():
        assert 0 < offered <= came / figures.every + fps * SPAN_S
    undisturbed(run, reader, live=live)


def test_one_that_differs(write: Write) -> None:
    now, then = meet(write, 0.0, workers="threads"), meet(write, 0.0, OTHER, "other", workers="threads")
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=0.5, cpu=64.0, seconds=600.0)
        wait_until(lambda: shadow.figures().outputs["meet.meet"].frames >= 20)
        shadow.end()
        run.drain()
    told = shadow.figures()
    assert told.outputs["meet.meet"].agreement < 0.2
    assert "meet.meet: expected an agreement of at least 0.9, got 0" in "; ".join(shortcomings(replace(told, state="done"), Shadow()))
    undisturbed(run, reader)


@pytest.mark.parametrize("frames", [0, 20])
def test_a_stream_that_stalls_leaves_nothing_to_compare(write: Write, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A join waits for the camera that gives nothing; what reads the other camera alone goes on, and the trial comes to its end."""
    monkeypatch.setattr("flow.switch.switching.SILENCE_S", 0.2)
    monkeypatch.setattr("flow.switch.cut.PATIENCE_S", 0.2)
    now, then = (meet(write, wait, live=1, side=f"&stalls={frames}", workers="threads") for wait in (0.1, 0.2))
    with running(now) as (run, reader):
        reader.wait_for("alone.sum", 50 + frames * FAST // SLOW)
        shadow = ShadowRun(run, then, 1, share=1.0, cpu=64.0, seconds=0.5)
        wait_until(lambda: shadow.figures().state == "done")
        shadow.end()
        reader.wait_for("alone.sum", reader.count("alone.sum") + 20)
        run.drain()
    told = shadow.figures()
    assert (told.state, told.outputs["meet.meet"].frames) == ("done", 0)
    assert "meet.meet: expected at least 20 frames to compare, got 0" in "; ".join(shortcomings(told, Shadow()))
    assert (run.failed, run.problems, run.leaked_slots) == (None, [], 0)


def test_one_that_needs_too_much_gets_fewer_spans(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.switch.shadow.SETTLE_S", 0.5)
    now, then = (meet(write, wait, workers="threads") for wait in (0.1, 20.0))
    with running(now) as (run, reader):
        shadow = ShadowRun(run, then, 1, share=1.0, cpu=0.1, seconds=600.0)
        wait_until(lambda: shadow.figures().every > 1)
        assert shadow.figures().state == "running"
        shadow.end()
        run.drain()
    undisturbed(run, reader)


@pytest.mark.parametrize("other", ["rear", "side front"])
def test_one_that_reads_other_streams_is_refused(write: Write, other: str) -> None:
    """No result of it would be of a frame that what runs gives a result of."""
    if other == "rear":
        then = meet(write, 0.0, MEET.replace("side", "rear"), streams="front rear")
    else:
        then = meet(write, 0.0, MEET.replace("first: fast, second: slow", "first: slow, second: fast"))
    with pytest.raises(ShadowError, match=r"^meet\.meet: expected an output of [^ ]+, [^ ]+, as the one that runs, got one of"):
        beside(meet(write, 0.0), then, every=2)


def test_the_sample_is_of_the_same_spans_for_all_that_meet(write: Write) -> None:
    both = beside(meet(write, 0.0), meet(write, 0.1), every=7)
    edges = {edge.producer: edge for edge in both.edges if edge.sample is not None}
    assert {edge.sample for edge in edges.values()} == {Sample(7, LEAST_NS, timed=True)}
    assert sorted(edge.queue for edge in edges.values()) == [2, 4], "as many as come while the slow one is waited for, and one"
    assert decode_plan(encode_plan(both)) == both
