"""Workers that only try something out, as the supervisor sees them: their first failure ends them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from flow.executor.workers import Worker
from flow.plan.value import Sample

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor

THREAD_S = 1.0
"""How long a thread, which nobody can kill, may take to end."""
FAILURES = frozenset({"error", "business_failed"})


class Shadow:
    """`row` is told the rows that sinks are asked to tell, with the sink's number; `problem` says why the shadow was given up."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.problem = ""
        self.row: Callable[[int, Mapping[str, Any]], None] | None = None

    def has(self, worker: Worker) -> bool:
        """Whether the worker only tries something out."""
        lane = self.supervisor.wiring.lanes.get(worker.seat.lane)
        return lane is not None and lane.shadow

    def workers(self) -> list[Worker]:
        """All such workers of the running plan."""
        return [worker for worker in self.supervisor.workers.values() if self.has(worker)]

    def take(self, *, every: int, taps: Mapping[int, Sample], future: Future[None] | None = None, why: str = "") -> None:
        """Workers give a sample of so many frames, and of rows; with a future the shadow is given up, which is told there."""
        told = {sink: astuple(sample) for sink, sample in taps.items()}
        for worker in self.supervisor.workers.values():
            if worker.ready:
                self.supervisor.command(worker, do="sample", every=every, taps=told)
        if future is not None:
            for worker in self.workers():
                self.supervisor.give_up(worker, why)
            future.set_result(None)

    def handle(self, worker: Worker, event: Mapping[str, Any]) -> bool:
        """Whether what a worker tells was for the shadow alone."""
        if event["event"] == "row":
            if self.row is not None:
                self.row(event["sink"], event["row"])
            return True
        if event["event"] in FAILURES and self.has(worker):
            self.supervisor.give_up(worker, event["message"])
            return True
        return False

    def gives_up(self, worker: Worker, message: str) -> bool:
        """Whether a worker that is given up was the shadow's, which the run does without."""
        if not self.has(worker):
            return False
        self.problem = self.problem or message
        if worker.ready and worker.process is None:
            self.supervisor.command(worker, do="stop")
            worker.join(THREAD_S)  # its memory goes next
        return True
