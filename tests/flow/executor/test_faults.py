"""Deaths at bad moments, and what is left over: nothing lost, nothing twice, nothing that hangs, nothing leaked."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.executor import Executor
from flow.plan.value import Plan

pytestmark = pytest.mark.usefixtures("operators")

Clip = Callable[..., Path]
Business = Callable[..., Path]

LEVEL = "level: {op: test.level, in: {image: camera}}"
COUNT = """
bright: {op: test.tint, in: {image: camera}}
level: {op: test.level, in: {image: bright}, config: {work_ms: 1}}
count: {op: test.count, in: {points: level}}
"""


def plan_of(path: Path, source: Path | str, **options: Any) -> Plan:
    return flow.make_plan(manifests.load(path, bind={"camera": str(source)}), **options)


class Killer:
    """Kills a random worker of a run again and again; `alone`: only while every worker is at work."""

    def __init__(self, run: Executor, every_s: float, times: int, *, alone: bool, seed: int) -> None:
        self.run, self.every_s, self.times, self.alone = run, every_s, times, alone
        self.random = random.Random(seed)
        self.kills = 0
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        supervisor = self.run._supervisor
        assert supervisor is not None
        self.run.wait_running()
        while self.kills < self.times and self.run._ended == 0.0:
            time.sleep(self.every_s)
            workers = list(supervisor.workers.values())
            if self.alone and not all(worker.ready for worker in workers):
                continue
            self.random.choice(workers).kill()
            self.kills += 1


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that starts its workers again, at once, however often they die."""
    monkeypatch.setattr("flow.executor.supervisor.MOST_RESTARTS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_OPENINGS", 1000)
    monkeypatch.setattr("flow.executor.workers.BACKOFF_MOST_S", 0.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("cores", [1, 2])
def test_random_deaths_one_at_a_time_lose_and_double_nothing(clip: Clip, business: Business, cores: int) -> None:
    plan = plan_of(business(COUNT, {"count": "count"}), clip(1200), workers="processes", cores=cores)
    with flow.Executor(plan) as run:
        killer = Killer(run, 0.3, 3, alone=True, seed=cores)
        results = [(result.seq, result.event[0]["value"], result.reset) for result in run.results("count")]
    assert results == [(seq, seq + 1, False) for seq in range(1200)]
    stream = run.report()["streams"]["camera"]
    assert (stream["in"], stream["out"], stream["dropped"]) == (1200, 1200, {})
    assert killer.kills > 0
    assert run.leaked_slots == 0


@pytest.mark.usefixtures("patient")
def test_workers_that_die_together_lose_and_double_nothing(clip: Clip, business: Business) -> None:
    plan = plan_of(business(COUNT, {"count": "count"}), clip(1500), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        Killer(run, 0.05, 12, alone=False, seed=3)
        results = [(result.seq, result.event[0]["value"], result.reset) for result in run.results("count")]
    assert results == [(seq, seq + 1, False) for seq in range(1500)]
    assert run.leaked_slots == 0


@pytest.mark.usefixtures("patient")
def test_two_streams_meet_alike_before_and_after_a_death(clip: Clip, business: Business, tmp_path: Path) -> None:
    """The latest frame of the other stream is there again, and frames between two chains of the dead worker are, too."""
    graph = """
    first: {op: test.level, in: {image: camera}, config: {work_ms: 2}}
    second: {op: test.level, in: {image: side}}
    both: {op: test.both, in: {first: first, second: second}}
    """
    side = tmp_path / "side.mkv"
    side.write_bytes(clip(500).read_bytes())
    path = business(graph, {"both": "both"}, inputs=("camera", "side"))
    plan = flow.make_plan(manifests.load(path, bind={"camera": str(clip(500)), "side": str(side)}), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        Killer(run, 0.3, 4, alone=True, seed=1)
        results = [(result.seq, result.inputs[1]["seq"]) for result in run.results("both")]
    assert results == [(seq, seq) for seq in range(500)]


def test_poison_is_set_aside_where_the_source_is_in_the_same_worker(clip: Clip, business: Business) -> None:
    graph = LEVEL + "\nfine: {op: test.trouble, in: {points: level}, config: {at: 17, how: kill, once: false}}"
    plan = plan_of(business(graph, {"fine": "fine"}), clip(40), workers="processes", cores=1)
    with flow.Executor(plan) as run:
        seqs = [result.seq for result in run.results("fine")]
    assert seqs == [seq for seq in range(40) if seq != 17]
    assert [found["seq"] for found in run.report()["poison"]] == [17]


def test_draining_while_the_source_is_dead(clip: Clip, business: Business) -> None:
    """What the dead source had sent and its consumers have is promised: the successor gives it again before it ends."""
    plan = plan_of(business(COUNT, {"count": "count"}), clip(2000), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        seqs = []
        for result in run.results("count"):
            seqs.append(result.seq)
            if result.seq == 20:
                assert run._supervisor is not None
                next(iter(run._supervisor.workers.values())).kill()
                run.drain()
    assert seqs == list(range(len(seqs)))
    assert 20 < len(seqs) < 2000
    assert run.leaked_slots == 0


def open_files() -> int:
    gc.collect()  # a map keeps its descriptor, and the workers of a run in threads are rings of references
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_runs_leave_no_descriptors_and_no_threads(clip: Clip, business: Business, workers: Any) -> None:
    plan = plan_of(business(LEVEL, {"level": "level"}), clip(20), workers=workers, cores=2)
    before: tuple[int, int] | None = None
    for _ in range(3):
        with flow.Executor(plan) as run:
            assert len(list(run.results("level"))) == 20
        now = open_files(), threading.active_count()
        assert before is None or now <= before
        before = now


def test_a_start_that_fails_leaves_nothing(clip: Clip, business: Business, monkeypatch: pytest.MonkeyPatch) -> None:
    from flow import pool

    def fails(shape: pool.PoolShape) -> tuple[int, int]:
        raise pool.PoolError("no memory")

    plan = plan_of(business(LEVEL, {"level": "level"}), clip(20), workers="processes", cores=2)
    with flow.Executor(plan) as run:
        run.stop()
    monkeypatch.setattr("flow.pool.allocate", fails)
    before = open_files()
    for _ in range(3):
        with pytest.raises(flow.executor.RunError, match="no memory"):
            flow.Executor(plan).start()
    assert open_files() <= before
