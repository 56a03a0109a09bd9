"""A change that fails leaves everything as it was; a worker that dies on the way costs no frame."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.switch.error import SwitchError

from .conftest import in_order, levels, live_plan, running, sums
from .test_reload import SUM, reload_until_the_end, summing, xs

pytestmark = pytest.mark.usefixtures("operators")

Write = Callable[..., Path]
FRAIL = """
look: {{op: test.look, in: {{image: camera}}, config: {{wait_ms: 4.0}}}}
frail: {{op: test.frail, in: {{points: look}}, config: {{how: {how}}}}}
sum: {{op: test.sum, in: {{points: frail}}}}
"""


def frail(write: Write, how: str) -> Path:
    return write("add", FRAIL.format(how=how), {"sum": "sum"})


@pytest.mark.parametrize(("how", "why"), [("raise", "asked not to open"), ("kill", "SIGKILL")])
def test_what_cannot_be_loaded_leaves_the_old_plan_running(write: Write, how: str, why: str) -> None:
    bind = {"camera": "stamps:frames=400&fps=25"}
    plans = [live_plan(frail(write, one), bind=bind) for one in ("none", how)]
    with running(plans[0]) as (run, reader):
        shared = run.snapshot()["shared_memory_bytes"]
        for _ in range(2):
            with pytest.raises(SwitchError, match=why):
                run.stage(plans[1])
            with pytest.raises(SwitchError, match="stage it first"):
                run.switch()
        assert run.snapshot()["shared_memory_bytes"] == shared
        assert run.failed is None
    results = reader.results["add.sum"]
    in_order(results, 400)
    assert xs(results) == sums(levels(400))
    assert {result.plan for result in results} == {plans[0].digest}
    assert run.leaked_slots == 0


def test_what_is_staged_can_be_given_up(write: Write) -> None:
    plans = [live_plan(summing(write, wait), bind={"camera": "stamps:frames=400"}) for wait in (4.0, 4.1)]
    with running(plans[0]) as (run, reader):
        workers = len(run._supervisor.workers)
        run.stage(plans[1])
        run.stage(plans[1])  # in the place of the first
        run.unstage()
        assert len(run._supervisor.workers) == workers
    assert {result.plan for result in reader.results["add.sum"]} == {plans[0].digest}
    in_order(reader.results["add.sum"], 400)


def test_plans_that_cannot_follow_are_refused(write: Write) -> None:
    path = summing(write, 0.5)
    plan = live_plan(path, bind={"camera": "stamps:frames=200"})
    other = live_plan(path, bind={"camera": "stamps:frames=201"})
    threads = live_plan(path, bind={"camera": "stamps:frames=200"}, workers="threads")
    together = live_plan(write("one", SUM.format(wait=1), {"sum": "sum"}), bind={"camera": "stamps:frames=200"}, cores=1)
    with running(plan) as (run, _):
        for wanted, why in ((other, "a name of its own"), (threads, "expected a plan for processes")):
            with pytest.raises(SwitchError, match=why):
                run.stage(wanted)
        run.stage(together)  # fewer cores, but its source has a worker to itself
        run.stop()
    with pytest.raises(SwitchError, match="ended"):
        run.stage(plan)


class Killer:
    """Kills a worker at random moments, as long as it is not stopped. `apart`: never a second before the first has been noticed."""

    def __init__(self, run: flow.Executor, seed: int, *, apart: bool) -> None:
        self.run, self.random, self.apart = run, random.Random(seed), apart
        self.kills = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go)
        self._thread.start()

    def _go(self) -> None:
        while not self._over.wait(self.random.uniform(0.02, 0.12)):
            supervisor: Any = self.run._supervisor
            workers = [worker for worker in supervisor.workers.values() if worker.ready]
            if len(workers) == len(supervisor.workers):
                victim = self.random.choice(workers)
                victim.kill()
                self.kills += 1
                while self.apart and victim.ready and not self._over.wait(0.001):
                    pass

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.parametrize(("fill", "link"), [(0, "auto"), (1, "auto"), (0, "zmq")])
@pytest.mark.usefixtures("deaths_are_forgiven")
def test_workers_that_die_during_switches_lose_and_double_nothing(write: Write, fill: int, link: Any) -> None:
    frames = 400
    bind = {"camera": f"stamps:frames={frames}&fps=25&fill={fill}"}
    plans = [live_plan(summing(write, wait), bind=bind, link=link) for wait in (4.0, 4.1)]
    with running(plans[0]) as (run, reader):
        killer = Killer(run, seed=fill, apart=link == "zmq")
        try:
            proofs = reload_until_the_end(run, plans)
        finally:
            killer.stop()
    results = reader.results["add.sum"]
    in_order(results, frames)
    assert xs(results) == sums(levels(frames))
    assert not any(result.reset for result in results)
    assert proofs
    assert killer.kills
    assert run.leaked_slots == 0
    assert run.failed is None
