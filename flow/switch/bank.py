"""What workers that are gone have counted: it stays in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flow.executor.workers import Worker
from flow.switch.stage import Stage

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor

PASSING = (".last_ns", ".gap_ns", ".max_ns", ".next_seq")
"""Figures of a sink that do not add up."""


class Bank:
    """Counters of the past, under the numbers that things have now."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.counts: Counter[str] = Counter()

    def take(self, worker: Worker, stage: Stage, only: Iterable[str] | None = None) -> None:
        """Keeps what a worker has counted (or `only` some of it); outputs that go on count on."""
        names = {f"sink:{old}.": f"sink:{new}." for new, old in stage.succession.sinks.items()}
        received = tuple(f"sink:{new}." for new in stage.succession.sinks if new in self.supervisor.inboxes)
        self.counts = Counter({_renamed(key, names): value for key, value in self.counts.items()})
        if only is None:
            self.counts["restarts"] += worker.restarts
        wanted = None if only is None else set(only)
        for key, value in worker.block.snapshot().items():
            if not value or key.startswith(("chain:", "taken:")) or (wanted is not None and key not in wanted):
                continue
            now = _renamed(key, names)
            if now.startswith("sink:") and (now == key or key.endswith(PASSING)):
                continue
            if now.startswith(received) and key.endswith(".results"):  # the inbox has counted them, and tells the next worker
                continue
            self.counts[now] += value


def lost_frames(workers: Iterable[Worker]) -> int:
    """Frames that were dropped for a switch, so far."""
    return sum(value for worker in workers for key, value in worker.block.snapshot().items() if key.endswith(".dropped:switch"))


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """The counter under the number that its output has now."""
    return next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), key)
