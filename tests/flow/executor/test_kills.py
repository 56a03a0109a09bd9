"""Whole groups of processes that die at once, and sources that misbehave: what is lost, what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.executor.directory import _base, sweep

from .graph import Graph, Source, Step
from .test_graphs import play

pytestmark = pytest.mark.usefixtures("operators")

Business = Callable[..., Path]

GRAPH = """
look: {op: test.look, in: {image: camera}, config: {wait_ms: 1}}
sum: {op: test.sum, in: {points: look}}
"""
PROGRAM = """
import sys
import flow, manifests
plan = flow.make_plan(manifests.load(sys.argv[1], bind={"camera": "stamps:frames=100000000"}), workers="processes", cores=2)
with flow.Executor(plan) as run:
    for result in run.results():
        if result.seq == 50:
            nursery = run._supervisor.nursery._process.pid
            workers = run._supervisor.workers.values()
            print(run._supervisor.directory.path, nursery, *(worker.pid for worker in workers), flush=True)
"""


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(pids: list[int]) -> bool:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("who", ["executor", "everything"])
def test_nothing_is_left_when_the_executor_is_killed(business: Business, who: str) -> None:
    """Memory, rings and bells have no name: they are gone with the processes. The next start sweeps the folder."""
    path = business(GRAPH, {"sum": "sum"})
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout is not None
        folder, *numbers = process.stdout.readline().split()
        pids = [process.pid, *map(int, numbers)]
        assert all(map(alive, pids))
        for pid in pids if who == "everything" else pids[:1]:
            os.kill(pid, signal.SIGKILL)
        process.wait()
    assert all_gone(pids)
    assert Path(folder).parent == _base()
    sweep(_base())
    assert not Path(folder).exists()


def test_workers_that_all_die_with_the_nursery_lose_and_double_nothing(business: Business) -> None:
    """The executor keeps the rings: what had been published is there for their successors."""
    plan = flow.make_plan(
        manifests.load(business(GRAPH, {"sum": "sum"}), bind={"camera": "stamps:frames=600"}), workers="processes", cores=2
    )
    results = []
    with flow.Executor(plan) as run:
        for result in run.results("sum"):
            results.append((result.seq, round(result.points[0]["point"][0]), result.reset))
            if result.seq in (100, 300):
                assert run._supervisor is not None
                assert run._supervisor.nursery is not None
                process = run._supervisor.nursery._process
                assert process is not None
                process.kill()
    expected = Graph((Source(600, 25),), (Step("test.look", (0,), "tail"), Step("test.sum", (1,), "tail"))).expected()[2]
    assert results == [(seq, x, False) for seq, x in expected.items()]
    assert run.failed is None
    assert run.leaked_slots == 0


def test_two_workers_killed_at_once(business: Business) -> None:
    plan = flow.make_plan(
        manifests.load(business(GRAPH, {"sum": "sum"}), bind={"camera": "stamps:frames=600"}), workers="processes", cores=2
    )
    assert len(plan.lanes) == 2
    seqs = []
    with flow.Executor(plan) as run:
        for result in run.results("sum"):
            seqs.append(result.seq)
            if result.seq == 200:
                assert run._supervisor is not None
                for worker in run._supervisor.workers.values():
                    worker.kill()
    assert seqs == list(range(600))
    assert run.leaked_slots == 0


def test_a_frame_on_which_an_operator_always_hangs_is_poison(business: Business) -> None:
    graph = """
    look: {op: test.look, in: {image: camera}}
    fine: {op: test.trouble, in: {points: look}, deadline_ms: 200, config: {at: 17, how: hang, once: false}}
    """
    plan = flow.make_plan(
        manifests.load(business(graph, {"fine": "fine"}), bind={"camera": "stamps:frames=40"}), workers="processes", cores=2
    )
    with flow.Executor(plan) as run:
        seqs = [result.seq for result in run.results("fine")]
    assert seqs == [seq for seq in range(40) if seq != 17]
    assert [(one["node"], one["seq"]) for one in run.report()["poison"]] == [("probe.fine", 17)]


def test_an_operator_that_finds_no_memory_costs_its_frame(business: Business) -> None:
    graph = """
    look: {op: test.look, in: {image: camera}}
    fine: {op: test.trouble, in: {points: look}, config: {at: 17, how: memory, once: false}}
    """
    plan = flow.make_plan(
        manifests.load(business(graph, {"fine": "fine"}), bind={"camera": "stamps:frames=40"}), workers="processes", cores=2
    )
    with flow.Executor(plan) as run:
        seqs = [result.seq for result in run.results("fine")]
    assert seqs == [seq for seq in range(40) if seq != 17]
    assert "MemoryError" in run.report()["problems"][0]


@pytest.mark.parametrize(("times", "repairs"), [("repeat", True), ("back", True), ("none", True), ("jump", False)])
def test_a_source_whose_time_stands_still_goes_back_or_jumps(business: Business, times: str, repairs: bool) -> None:
    plan = flow.make_plan(
        manifests.load(business(GRAPH, {"sum": "sum"}), bind={"camera": f"stamps:frames=30&times={times}"}), workers="threads", cores=2
    )
    with flow.Executor(plan) as run:
        results = list(run.results("sum"))
    assert [result.seq for result in results] == list(range(30))
    assert all(before.pts_ns < after.pts_ns for before, after in pairwise(results))
    assert (run.report()["streams"]["camera"]["repaired"] > 0) is repairs


@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_a_source_that_breaks_ends_its_stream_and_nothing_else(business: Business, workers: Any, cores: int) -> None:
    broken = business(GRAPH, {"sum": "sum"}, name="broken")
    sound = business(GRAPH, {"sum": "sum"}, name="sound")
    bind = {"broken.camera": "stamps:frames=100&breaks=30", "sound.camera": "stamps:frames=100"}
    plan = flow.make_plan(manifests.load(broken, sound, bind=bind), workers=workers, cores=cores)
    seqs: dict[str, list[int]] = {"broken": [], "sound": []}
    with flow.Executor(plan) as run:
        for result in run.results():
            seqs[result.business].append(result.seq)
    assert seqs == {"broken": list(range(30)), "sound": list(range(100))}
    assert re.search("told to break at picture 30", run.failed or "")


def test_pictures_that_grow_while_workers_die() -> None:
    steps = (Step("test.pass", (0,), "source"), Step("test.look", (1,), "shared 0", wait_ms=2.0), Step("test.sum", (2,), "tail"))
    play(Graph((Source(400, 25, options="grow=150"),), steps), workers="processes", link="auto", seed=2, kills=6)
