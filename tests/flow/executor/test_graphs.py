"""Random graphs through the executor, in threads and in processes, over rings and ZeroMQ, at random rates, with random deaths."""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import flow
from flow.executor import Executor
from flow.ledger import conserved

from .graph import Graph, Source, Step, graphs

pytestmark = pytest.mark.usefixtures("operators")

PROFILE = settings(
    max_examples=5, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
LINKS = st.sampled_from(["auto", "zmq"])


class Trouble(threading.Thread):
    """Beside a run: looks at the ledger all the time, and kills workers that are at work, one or all at once, at random moments."""

    def __init__(self, run: Executor, seed: int, kills: int) -> None:
        super().__init__(daemon=True)
        self.run_, self.random, self.left = run, random.Random(seed), kills
        self.broken: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        supervisor = self.run_._supervisor
        assert supervisor is not None
        self.run_.wait_running()
        while not self.over.wait(self.random.uniform(0.0, 0.15)):
            workers = list(supervisor.workers.values())
            for worker in workers:
                with contextlib.suppress(ValueError):  # the run has ended meanwhile
                    self._look(worker.name, worker.block)
            if self.left and all(worker.ready for worker in workers):
                self.left -= 1
                self.random.choice(workers).kill()

    def _look(self, name: str, block: Any) -> None:
        before = block.words[0]
        counters = block.snapshot(patience_s=0.02)
        if before % 2 or block.words[0] != before:
            return  # no stable one
        for key in counters:
            prefix, _, what = key.rpartition(".")
            if what == "in_flight" and not conserved(counters, prefix):
                balance = {one: value for one, value in counters.items() if one.startswith(f"{prefix}.") and value}
                self.broken.append(f"{name}: {balance}")


def play(graph: Graph, *, workers: Any, link: str, seed: int, kills: int) -> dict[str, Any]:
    """Runs a graph and checks all that is promised; its report."""
    plan = graph.plan(None, workers=workers, link=link)
    found: dict[str, list[tuple[int, int]]] = {}
    with pytest.MonkeyPatch.context() as patch, flow.Executor(plan) as run:
        patch.setattr("flow.executor.supervisor.MOST_RESTARTS", 1000)
        patch.setattr("flow.executor.workers.BACKOFF_MOST_S", 0.0)
        trouble = Trouble(run, seed, kills)
        trouble.start()
        for result in run.results():
            found.setdefault(result.output, []).append((result.seq, round(result.points[0]["point"][0])))
        trouble.over.set()
        trouble.join()
    report = run.report()
    assert run.failed is None
    assert trouble.broken == []
    check(graph, found, report)
    assert run.leaked_slots == 0
    return report


def check(graph: Graph, found: dict[str, list[tuple[int, int]]], report: dict[str, Any]) -> None:
    poison = {(one["stream"], one["seq"]) for one in report["poison"]}
    expected = graph.expected()
    for value in graph.leaves():
        rows = found.get(f"v{value}", [])
        seqs = [seq for seq, _ in rows]
        assert seqs == sorted(set(seqs)), f"v{value}: out of order or doubled"
        if graph.lossless(value) and not poison:
            assert dict(rows) == expected[value], f"v{value}"
        if graph.pure(value) and not any(source.live for source in graph.sources):  # a camera opened again begins anew
            assert all(x == expected[value][seq] for seq, x in rows), f"v{value}: a result of another frame's pixels"
    for node in report["nodes"].values():
        assert node["errors"] == 0, report["problems"]
    for name, stream in report["streams"].items():
        assert stream["in_flight"] == 0, name
        assert stream["in"] == stream["out"] + sum(stream["dropped"].get(name, {}).values()), name
    for edge in report["edges"].values():
        for end in (edge, edge["received"]):
            assert end["in"] == end["out"] + sum(end["dropped"].values())
            assert end["in_flight"] == 0


@PROFILE
@given(graphs(live=True), LINKS)
def test_in_threads(graph: Graph, link: str) -> None:
    play(graph, workers="threads", link=link, seed=0, kills=0)


@PROFILE
@given(graphs(most_steps=4, frames=(100, 400)), LINKS, st.integers(0, 99))
def test_in_processes_that_die(graph: Graph, link: str, seed: int) -> None:
    steps = tuple(replace(step, wait_ms=1.0) if step.op == "test.look" else step for step in graph.steps)
    play(replace(graph, steps=steps), workers="processes", link=link, seed=seed, kills=4)


@PROFILE
@given(graphs(most_steps=4, frames=(60, 150), live=True), LINKS, st.integers(0, 99))
def test_live_in_processes_that_die(graph: Graph, link: str, seed: int) -> None:
    play(graph, workers="processes", link=link, seed=seed, kills=2)


@pytest.mark.parametrize("link", ["auto", "zmq"])
@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_the_other_stream_of_a_join_ends_first(workers: Any, cores: int, link: str) -> None:
    """The join needs its last frame until it hears that no other follows."""
    steps = (Step("test.look", (0,), "shared 0"), Step("test.look", (1,), "shared 1"), Step("test.mix", (2, 3), "tail"))
    play(Graph((Source(30, 25), Source(9, 25)), steps, cores), workers=workers, link=link, seed=0, kills=0)


def test_a_picture_passed_on_where_it_was_made_reaches_who_does_not_read_the_original() -> None:
    steps = (
        Step("test.pass", (0,), "source"), Step("test.look", (1,), "tail"), Step("test.look", (0,), "shared 0"),
        Step("test.mix", (2, 3), "tail"),
    )  # fmt: skip
    play(Graph((Source(30, 25),), steps), workers="threads", link="auto", seed=0, kills=0)


def test_streams_meet_alike_where_inference_is_replicated() -> None:
    """What sees two streams is in one place, not in replicas that each know a part of them."""
    steps = (
        Step("test.look", (0,), "infer 0"), Step("test.look", (1,), "infer 0"), Step("test.mix", (2, 3), "infer 0"),
        Step("test.sum", (4,), "tail"),
    )  # fmt: skip
    graph = Graph((Source(40, 25), Source(20, 10)), steps, cores=4)
    assert {lane.replicas for lane in graph.plan(None).lanes} == {1}
    play(graph, workers="threads", link="auto", seed=0, kills=0)
