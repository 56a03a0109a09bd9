"""A candidate beside what runs: the same frames now and then, its results compared with those that count, at the lowest priority.

It comes and goes by the live switch, which touches nothing that runs. Nobody ever waits for it: its frames are dropped when it has no
time, and its first failure ends it alone.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from typing import Any, Literal

from devices.cpu import available_memory
from flow.executor import Executor
from flow.ledger import LATENCY_BUCKETS, latency_bucket, quantile_ms
from flow.plan.shadow import MARK, SHADOW, beside, compared, shadowed
from flow.plan.value import Plan
from flow.switch.admission import need
from flow.switch.agreement import agreement
from flow.switch.error import SwitchError
from flow.switch.proof import memory_of
from flow.switch.succession import Misfit
from manifests.sync.runtime import Compared, Shadowed

LOOK_S = 0.5
SETTLE_S = 2.0
"""How long the CPU is measured before the sample is made smaller."""
MOST_EVERY = 1000
"""A candidate that would have to do with less than one frame in so many is given up."""
MOST_WAITING = 1024
"""Rows that wait for the other one of their frame, or to be compared."""
LEAVE_S = 30.0

RUNS, TRIED = 0, 1


@dataclass
class Tally:
    """What one output has shown so far; latencies of what runs and of what is tried."""

    frames: int = 0
    agreed: float = 0.0
    latencies: tuple[list[int], list[int]] = field(default_factory=lambda: ([0] * LATENCY_BUCKETS, [0] * LATENCY_BUCKETS))
    waiting: OrderedDict[tuple[str, int], tuple[int, Mapping[str, Any]]] = field(default_factory=OrderedDict)

    def take(self, side: int, row: Mapping[str, Any]) -> None:
        """A row of one of both: compared once the other one of its frame is there."""
        frame = row["stream"], row["seq"]
        other = self.waiting.get(frame)
        if other is None or other[0] == side:
            self.waiting[frame] = side, row
            if len(self.waiting) > MOST_WAITING:
                self.waiting.popitem(last=False)
            return
        del self.waiting[frame]
        pair = (row, other[1]) if side == RUNS else (other[1], row)
        self.frames += 1
        self.agreed += agreement(*pair)
        for buckets, each in zip(self.latencies, pair, strict=True):
            buckets[latency_bucket(int(each["latency_ms"] * 1e6))] += 1

    def compared(self) -> Compared:
        """The figures of now."""
        latencies = [
            {name: round(value, 3) for name, share in (("p50", 0.5), ("p99", 0.99)) if (value := quantile_ms(buckets, share)) is not None}
            for buckets in self.latencies
        ]
        return Compared(self.frames, round(self.agreed / self.frames, 4) if self.frames else 0.0, latencies[RUNS], latencies[TRIED])


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
        self._every = max(1, round(1 / share))
        self._state: Literal["running", "done", "ended"] = "running"
        self._why = ""
        self._used, self._memory = 0.0, 0
        self._since = time.monotonic(), 0
        """When the sample was chosen, and what had been spent until then."""
        pairs = [(f"{ours.business}.{ours.output}", ours.id) for ours, _ in compared(self._base, candidate)]
        self._tallies = {name: Tally() for name, _ in pairs}
        self._sides = {sink: (name, RUNS) for name, sink in pairs}
        self._rows: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if not self._tallies:
            self._state = "done"
            return
        self._enter(beside(self._base, candidate, every=self._every))
        self._since = time.monotonic(), self._busy_ns()
        self._thread = threading.Thread(target=self._go, name="ace-shadow", daemon=True)
        self._thread.start()

    def figures(self) -> Shadowed:
        """How it stands."""
        outputs = {name: tally.compared() for name, tally in self._tallies.items()}
        return Shadowed(self.revision, self._state, outputs, self._every, round(self._used, 4), self._memory, self._why)

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
        for sink in self.run.running_plan.sinks:
            if sink.target == SHADOW:
                self._sides[sink.id] = tried[f"{sink.business}.{sink.output}"], TRIED
        self._tell()

    def _tell(self) -> None:
        """Workers may have been started anew, so they are told again and again."""
        self.run.sample(self._every, {sink: 1 if side == TRIED else self._every for sink, (_, side) in self._sides.items()})

    # ---- there

    def _heard(self, sink: int, row: Mapping[str, Any]) -> None:
        """Called by the executor's thread: nothing is done there."""
        if self._rows.qsize() < MOST_WAITING:
            self._rows.put((sink, row))

    def _go(self) -> None:
        until = time.monotonic() + self._seconds
        try:
            while not self._over.is_set() and not self._why:
                if time.monotonic() >= until:
                    self._compare(0.0)
                    self._state = "done"
                    break
                self._compare(min(LOOK_S, max(0.0, until - time.monotonic())))
                self._look()
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
            if sink in self._sides:
                name, side = self._sides[sink]
                self._tallies[name].take(side, row)

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
        if self._used <= self._cpu:
            return
        every = math.ceil(self._every * self._used / self._cpu)
        if every > MOST_EVERY:
            self._why = f"expected to need at most {self._cpu:.0%} of a core, got {self._used:.0%} for one frame in {self._every}"
            return
        self._every, self._since = every, (now, busy)

    def _busy_ns(self) -> int:
        return sum(value for key, value in self.run.counters().items() if key.startswith(f"node:{MARK}") and key.endswith(".busy_ns"))

    # ---- going

    def _leave(self) -> None:
        """Its workers are ended first, so that nothing waits for what they still have."""
        if self._state == "running":
            self._state = "ended"
            self._why = self._why or "it was no longer wanted"
        try:
            self.run.sample(0, {}, give_up=self._why or "its time is over", timeout_s=LEAVE_S)
            if not self.run.ended:
                self.run.stage(self._base)
                self.run.switch()
            self.run.watch_shadow(None)
        except (SwitchError, Misfit, Late) as error:
            self._why = self._why or str(error)


def _pool_bytes(plan: Plan) -> int:
    return sum(pool.slots * pool.slot_bytes for pool in plan.pools)
