"""A candidate beside what runs: the same frames now and then, its results compared with those that count, at the lowest priority.

It comes and goes by the live switch, which touches nothing that runs. Nobody ever waits for it: its frames are dropped when it has no
time, and its first failure ends it alone.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import TimeoutError as Late
from dataclasses import replace
from typing import Any, Literal

from devices.cpu import available_memory
from flow.executor import Executor
from flow.plan.shadow import MARK, SHADOW, apart, beside, compared, sample_of, shadowed
from flow.plan.value import Plan, Sample
from flow.switch.admission import need
from flow.switch.error import SwitchError
from flow.switch.proof import memory_of
from flow.switch.succession import Misfit
from flow.switch.tally import RUNS, TRIED, Tally
from manifests.sync.runtime import Shadowed

LOOK_S = 0.5
SETTLE_S = 2.0
"""How long the CPU is measured before the sample is made smaller."""
MOST_EVERY = 1000
"""A candidate that would have to do with less than one frame in so many is given up."""
MOST_UNREAD = 1024
"""Rows that wait to be compared."""
LEAVE_S = 30.0


class ShadowRun:
    """Runs what `candidate` changes of the running plan on a `share` of its frames, for at most `cpu` of a core, for so many `seconds`.

    Begins at once, and ends by itself. Raises SwitchError, Misfit, ShadowError; then nothing has happened.
    """

    def __init__(
        self, run: Executor, candidate: Plan, revision: int, *, share: float = 0.1, cpu: float = 0.25, seconds: float = 60.0
    ) -> None:  # fmt: skip
        self.run, self.revision = run, revision
        self._cpu, self._seconds = cpu, seconds
        self._base = run.running_plan
        self._every = one_in(share)
        self._state: Literal["running", "done", "ended"] = "running"
        self._why = ""
        self._used, self._memory = 0.0, 0
        self._since = time.monotonic(), 0
        """When the sample was chosen, and what had been spent until then."""
        self._lap_s = 0.0
        """From one sampled span of time to the next, where streams meet."""
        self._samples: dict[int, Sample] = {}
        """Rows of which frames sinks tell."""
        pairs = [(f"{ours.business}.{ours.output}", ours.id) for ours, _ in compared(self._base, candidate)]
        self._tallies = {name: Tally() for name, _ in pairs}
        self._apart = apart(self._base, candidate)
        self._sides = {sink: (name, RUNS) for name, sink in pairs}
        self._rows: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if not self._tallies:
            self._state = "done"
            return
        self._enter(beside(self._base, candidate, every=self._every))
        self._thread = threading.Thread(target=self._go, name="ace-shadow", daemon=True)
        self._thread.start()

    def figures(self) -> Shadowed:
        """How it stands."""
        outputs = {name: tally.compared() for name, tally in self._tallies.items()}
        return Shadowed(self.revision, self._state, outputs, self._every, round(self._used, 4), self._memory, self._why, self._apart)

    def end(self, why: str = "it was no longer wanted") -> None:
        """Ends it now, if it has not ended, and waits for that."""
        if self._thread is not None:
            if self._state == "running":
                self._why = self._why or why
            self._over.set()
            self._thread.join()

    # ---- coming

    def _enter(self, plan: Plan) -> None:
        needed = need(self.run.succession(plan)).coming - self._base.shared_memory_bytes
        free = available_memory()
        if needed > free:
            raise SwitchError(f"expected a candidate that fits beside what runs into {free} bytes of memory, got one that needs {needed}")
        self.run.stage(plan)
        self._shadow = self.run.watch_shadow(self._heard)
        self.run.switch()
        self._pools = _pool_bytes(plan) - _pool_bytes(self._base)
        self._memory = self._pools + (needed if plan.workers == "threads" else 0)
        tried = {shadowed(name.partition(".")[0]) + "." + name.partition(".")[2]: name for name in self._tallies}
        now = self.run.running_plan
        for sink in now.sinks:
            if sink.target == SHADOW:
                self._sides[sink.id] = tried[f"{sink.business}.{sink.output}"], TRIED
            if sink.id in self._sides and (sample := sample_of(now, sink.stream)) is not None:
                self._samples[sink.id] = sample
        self._choose(self._every)

    def _choose(self, every: int) -> None:
        """The sample is one in so many from now on."""
        self._every, self._since = every, (time.monotonic(), self._busy_ns())
        self._lap_s = every * max((sample.lap_ns / sample.every for sample in self._samples.values()), default=0.0) / 1e9
        self._tell()

    def _tell(self) -> None:
        """Workers may have been started anew, so they are told again and again."""
        self.run.sample(
            self._every,
            {sink: replace(sample, every=1 if self._sides[sink][1] == TRIED else self._every) for sink, sample in self._samples.items()},
        )

    # ---- there

    def _heard(self, sink: int, row: Mapping[str, Any]) -> None:
        """Called by the executor's thread: nothing is done there."""
        if self._rows.qsize() < MOST_UNREAD:
            self._rows.put((sink, row))
        elif sink in self._sides:
            self._tallies[self._sides[sink][0]].missed["unread"] += 1

    def _go(self) -> None:
        until = time.monotonic() + self._seconds
        try:
            while not self._over.is_set() and not self._why and (left := until - time.monotonic()) > 0:
                self._compare(min(LOOK_S, left))
                self._look()
            self._finish()
        finally:
            self._leave()

    def _compare(self, for_s: float) -> None:
        """Takes rows in for so long."""
        until = time.monotonic() + for_s
        while not self._over.is_set():
            try:
                sink, row = self._rows.get(timeout=max(0.0, min(LOOK_S, until - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= until:
                    return
                continue
            self._take(sink, row)

    def _take(self, sink: int, row: Mapping[str, Any]) -> None:
        if sink in self._sides:
            name, side = self._sides[sink]
            self._tallies[name].take(side, row)

    def _finish(self) -> None:
        """What has come is compared, and no more."""
        for _ in range(self._rows.qsize()):
            self._take(*self._rows.get())
        for tally in self._tallies.values():
            tally.finish()
        if not self._over.is_set() and not self._why:
            self._state = "done"

    def _look(self) -> None:
        """Whether it may go on, and on how many frames."""
        if self.run.ended:
            self._why = "the run ended"
        elif self._shadow.problem:
            self._why = self._shadow.problem
        else:
            self._memory = max(self._memory, self._measured_memory())
            self._keep_to_budget()
            self._tell()

    def _measured_memory(self) -> int:
        return self._pools + (memory_of(self._shadow.workers()) if self._base.workers == "processes" else 0)

    def _keep_to_budget(self) -> None:
        now, busy = time.monotonic(), self._busy_ns()
        spent = now - self._since[0]
        if spent < SETTLE_S:
            return
        self._used = (busy - self._since[1]) / 1e9 / spent
        used = self._used * spent / self._whole_laps(spent)
        if used <= self._cpu:
            return
        every = math.ceil(self._every * used / self._cpu)
        if every > MOST_EVERY:
            self._why = f"expected to need at most {self._cpu:.0%} of a core, got {used:.0%} for one frame in {self._every}"
            return
        self._choose(every)

    def _whole_laps(self, spent: float) -> float:
        """The time that what was spent is for: a span of time that is worked on is followed by a rest, which may be still to come."""
        return math.ceil(spent / self._lap_s) * self._lap_s if self._lap_s else spent

    def _busy_ns(self) -> int:
        return sum(value for key, value in self.run.counters().items() if key.startswith(f"node:{MARK}") and key.endswith(".busy_ns"))

    # ---- going

    def _leave(self) -> None:
        """Its workers are ended first, so that nothing waits for what they still have."""
        if self._state == "running":
            self._state = "ended"
            self._why = self._why or "it was no longer wanted"
        try:
            self.run.sample(self._every, {}, give_up=self._why or "its time is over", timeout_s=LEAVE_S)
            if not self.run.ended:
                self.run.stage(self._base)
                self.run.switch()
            self.run.watch_shadow(None)
        except (SwitchError, Misfit, Late) as error:
            self._why = self._why or str(error)


def one_in(share: float) -> int:
    """A sample of one frame in so many takes this share of them, or a little less."""
    return max(1, math.ceil(1 / share - 1e-9))


def _pool_bytes(plan: Plan) -> int:
    return sum(pool.slots * pool.slot_bytes for pool in plan.pools)
