"""The proof of a switch: what was kept, carried over, reset, added and removed; where frames went over; what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flow.executor.workers import Worker
from flow.plan.value import Node
from flow.switch.succession import Heir, Succession


@dataclass(frozen=True, slots=True)
class Proof:
    """Nodes by their manifests' names. `last_old`, `first_new`: seq by stream, -1 where there was no such frame.

    `gap_ns`: the longest time between two rows of one output that goes on, from the preparation of the switch to the first rows after it.
    `lost`: frames that no plan has processed because of the switch. `memory_peak_bytes`: of workers and shared memory while both plans are
    there.
    """

    plan: str
    previous: str
    kept: tuple[str, ...]
    carried: tuple[str, ...]
    reset: Mapping[str, str]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    last_old: Mapping[str, int] = field(default_factory=dict)
    first_new: Mapping[str, int] = field(default_factory=dict)
    gap_ns: int = 0
    lost: int = 0
    memory_peak_bytes: int = 0


def differences(succession: Succession, heirs: Mapping[str, Heir]) -> Proof:
    """What the new plan keeps, carries over, resets, adds and removes."""
    before, after = succession.before, succession.after
    old, new = {node.address for node in before.nodes}, {node.address for node in after.nodes}
    reset = {heir.name: heir.reason for heir in heirs.values() if heir.ancestor is None}
    carried = {address for address, heir in heirs.items() if heir.ancestor is not None and address not in old}
    went_on = {heir.ancestor for heir in heirs.values()}
    return Proof(
        plan=after.digest,
        previous=before.digest,
        kept=_names(node for node in after.nodes if node.address in old and not set(node.names) & reset.keys()),
        carried=_names(node for node in after.nodes if node.address in carried),
        reset=reset,
        added=_names(node for node in after.nodes if node.address not in old and node.address not in heirs),
        removed=_names(node for node in before.nodes if node.address not in new and node.address not in went_on),
    )


def gap_of(workers: Iterable[Worker], sinks: Iterable[int]) -> int:
    """The longest time between two rows of one of these sinks, as their writers noted it."""
    keys = [f"sink:{sink}.gap_ns" for sink in sinks]
    return max((worker.block.get(key) for worker in workers for key in keys if key in worker.block.layout.index), default=0)


def last_row(worker: Worker, sink: int) -> int:
    """When the last row of a sink was written, by the monotonic clock."""
    return worker.block.get(f"sink:{sink}.last_ns")


def memory_of(workers: Iterable[Worker]) -> int:
    """Bytes of memory that these workers have to themselves (what they share is counted where it is allocated)."""
    total = 0
    for pid in {worker.pid for worker in workers if worker.pid is not None}:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        private = [line.split()[1] for line in lines if line.startswith("Private_")]
        total += 1024 * sum(map(int, private))
    return total


def _names(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(sorted({name for node in nodes for name in node.names}))
