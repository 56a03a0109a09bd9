"""What workers that are gone have counted: it stays in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from flow.executor.workers import Worker
from flow.plan.shadow import MARK
from flow.switch.stage import Stage

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor

PASSING = (".last_ns", ".gap_ns", ".max_ns", ".next_seq")
"""Figures of a sink that do not add up."""
WHERE = (".turn", ".settled")
"""How far an edge was, which says nothing once it is gone."""
PAST = "past"
"""In the place of an edge's number or a node's address: all of those together that are gone."""


class Bank:
    """Counters of the past, under the numbers that things have now. It does not grow with the plans that there were."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.counts: Counter[str] = Counter()

    def take(self, worker: Worker, stage: Stage, only: Iterable[str] | None = None) -> None:
        """Keeps what a worker has counted (or `only` some of it); outputs that go on count on."""
        names = {f"sink:{old}.": f"sink:{new}." for new, old in stage.succession.sinks.items()}
        received = tuple(f"sink:{new}." for new in stage.succession.sinks if new in self.supervisor.inboxes)
        plans = stage.succession.before, stage.succession.after
        known = {node.address for plan in plans for node in plan.nodes} | {PAST}
        sinks = {str(sink.id) for sink in stage.succession.after.sinks}
        before, self.counts = self.counts, Counter()
        for key, value in before.items():
            if (still := _still(_renamed(key, names), known, sinks)) is not None:
                self.counts[still] += value
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
            if now.startswith("edge:"):
                if now.endswith(WHERE):
                    continue
                now = f"edge:{PAST}.{now.partition('.')[2]}"  # its number is never used again
            self.counts[now] += value


def lost_frames(workers: Iterable[Worker]) -> int:
    """Frames that were dropped for a switch, so far."""
    return sum(value for worker in workers for key, value in worker.block.snapshot().items() if key.endswith(".dropped:switch"))


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """The counter under the number that its output has now."""
    return next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), key)


def _still(key: str, addresses: Container[str], sinks: Container[str]) -> str | None:
    """The counter as it is kept while these nodes and sinks are known: None for what nobody asks about any more."""
    kind, _, rest = key.partition(":")
    owner, _, name = rest.partition(".")
    if kind == "sink":
        return key if owner in sinks else None
    if kind != "node" or owner in addresses:
        return key
    return None if owner.startswith(MARK) else f"node:{PAST}.{name}"
