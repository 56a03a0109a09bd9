"""Chains over real rings and pools, their workers killed between any two lines: nothing lost, doubled, torn, leaked or stuck."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .bench import Bench
from .graph import Graph, Source, Step, graphs

pytestmark = pytest.mark.usefixtures("operators")

PICTURES = Graph((Source(14, 25, options="fill=1"),), (Step("test.shade", (0,), "shared 0"), Step("test.look", (1,), "tail")))
RECORDS = Graph(
    (Source(14, 25), Source(9, 40)),
    (
        Step("test.look", (0,), "source"), Step("test.look", (1,), "source"), Step("test.mix", (2, 3), "shared 0"),
        Step("test.sum", (4,), "tail"),
    ),
)  # fmt: skip
GROWING = Graph((Source(14, 25, options="grow=6"),), (Step("test.pass", (0,), "source"), Step("test.look", (1,), "tail")))
THINNED = Graph((Source(14, 40, "latest", options="fill=1"),), (Step("test.look", (0,), "shared 0"),))
ONE_WORKER = replace(RECORDS, cores=1)
TOGETHER = Graph(
    (Source(14, 25), Source(9, 40), Source(11, 25)),
    (
        Step("test.look", (0,), "shared 0"),
        Step("test.look", (1,), "shared 0"),
        Step("test.look", (2,), "shared 0"),
        Step("test.sum", (3,), "tail"),
    ),
    together=2,
)
PROFILE = settings(
    max_examples=35, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
Moves = list[tuple[int, int | None]]
MOVES = st.lists(st.tuples(st.integers(0, 9), st.none() | st.none() | st.none() | st.integers(0, 700)), max_size=80)
"""Which worker takes a step, or is killed so many lines later."""


def play(graph: Graph, moves: Moves, link: str = "auto", frames_together: int = 16, *, pairs: bool = False) -> int:
    """Runs a graph by hand and checks all that is promised; how many workers were killed. `pairs`: two always die together."""
    graph = replace(graph, delay_ms=0.0)  # here only work makes time pass
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("flow.worker.straight.LONGEST_NS", 1 << 60)
        patch.setattr("flow.worker.straight.MOST_FRAMES", frames_together)
        bench = Bench(graph.plan(Path(folder), link=link), Path(folder), patch)
        try:
            for who, lines in moves:
                seat = bench.seats[who % len(bench.seats)]
                if lines is None:
                    bench.step(seat)
                    bench.check_ledger()
                else:
                    bench.kill(seat, lines, bench.seats[(who + 1) % len(bench.seats)] if pairs else None)
            bench.finish()
            bench.check_ledger()
            check(graph, bench)
            kills = bench.kills
        finally:
            bench.close()
            del bench
            gc.collect()  # maps keep their descriptors
        return kills


def check(graph: Graph, bench: Bench) -> None:
    assert bench.problems == []
    expected = graph.expected()
    for value in graph.leaves():
        found = bench.results(f"v{value}")
        seqs = [seq for seq, _ in found]
        assert seqs == sorted(set(seqs)), f"v{value}: out of order or doubled: {seqs}"
        if graph.lossless(value):
            assert dict(found) == expected[value], f"v{value}"
    assert bench.memory.held() == 0
    counters = bench.counters()
    if all(source.lossless for source in graph.sources):
        assert [key for key, value in counters.items() if key.endswith(":death") and value] == []
    assert [key for key, value in counters.items() if key.endswith(".in_flight") and value] == []
    assert [key for key, value in counters.items() if key.endswith((".errors", ":broken", ":overflow")) and value] == []


@PROFILE
@given(graphs(), MOVES, st.sampled_from([1, 2, 16]))
def test_rings_killed_at_any_line(graph: Graph, moves: Moves, together: int) -> None:
    play(graph, moves, frames_together=together)


@PROFILE
@given(graphs(), MOVES)
def test_two_at_once_over_rings(graph: Graph, moves: Moves) -> None:
    """The executor keeps the rings, so what two workers have told each other survives both."""
    play(graph, moves, pairs=True)


@PROFILE
@given(graphs(), MOVES)
def test_zeromq_killed_at_any_line(graph: Graph, moves: Moves) -> None:
    play(graph, moves, link="zmq")


@pytest.mark.parametrize("link", ["auto", "zmq"])
@pytest.mark.parametrize("together", [1, 16])
@pytest.mark.parametrize(
    "graph",
    [PICTURES, RECORDS, GROWING, THINNED, ONE_WORKER, TOGETHER],
    ids=["pictures", "records", "growing", "thinned", "one worker", "together"],
)
def test_every_so_many_lines(graph: Graph, together: int, link: str) -> None:
    """Publish, settle, acknowledge, and the way back into life: each worker dies again and again, a prime number of lines apart."""
    for lines in (41, 113):
        for who in range(3):
            moves: Moves = [(who, lines), (0, None), (1, None), (2, None)] * 8
            assert play(graph, moves, link, together) > 0
