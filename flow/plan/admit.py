"""What a plan needs of memory, and whether the device has it: decided before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.cpu import available_memory
from devices.engine import ModelInfo
from devices.spec import Spec
from flow.ledger import STATE_BYTES
from flow.link.rows import SHAPE
from flow.plan.chains import Layout
from flow.plan.pools import PAGE
from flow.plan.problems import Problems
from flow.plan.value import Edge, Node, Pool, Ref
from manifests.deployment import Position

__all__ = ["Budget", "available_memory", "budget", "labels", "refuse"]

ENTRY_BYTES = 256
"""The fixed part of an entry on an edge."""
LEDGER_BYTES = 64 << 10
"""The counters of one worker."""
WORKER_BYTES = 60 << 20
"""Estimate: an interpreter with NumPy, the link library and the operators of a lane."""
MODEL_COPIES = 2
"""Estimate: a loaded model takes its file's size for weights, and as much again for what lies between its layers."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory by part: (what, bytes). What is shared is a bound (snapshots of state take memory once written), the rest an estimate."""

    shared: tuple[tuple[str, int], ...]
    ram: tuple[tuple[str, int], ...]

    @property
    def shared_bytes(self) -> int:
        return sum(size for _, size in self.shared)

    @property
    def ram_bytes(self) -> int:
        return sum(size for _, size in self.ram)

    @property
    def bytes(self) -> int:
        return self.shared_bytes + self.ram_bytes


def budget(
    layout: Layout, edges: Sequence[Edge], pools: Sequence[Pool], nodes: Sequence[Node], models: Sequence[ModelInfo], *,
    processes: bool, labels: Mapping[Ref, str], results: int = 0,
) -> Budget:  # fmt: skip
    """Adds up pools (one a replica), edges, counters and snapshots of state; then workers and the models each of them loads.

    `results`: outputs that come to the program's own process.
    """
    by_address = {node.address: node for node in nodes}
    sizes = {model.digest: _file_bytes(model) for model in models}
    signatures = {model.digest: model for model in models}
    shared, ram = [], []
    for pool in pools:
        copies = layout.lane_of(pool.chain).replicas
        what = f"{pool.slots * copies} slots of {pool.slot_bytes} bytes for {labels.get(pool.ref, pool.ref.port)}"
        shared.append((what, copies * (pool.slots * pool.slot_bytes + PAGE)))
    flowing = sum(edge.capacity * (edge.payload + ENTRY_BYTES) * layout.lane_of(edge.producer).replicas for edge in edges)
    shared.append(("records on their way", flowing + results * SHAPE.nbytes))
    for lane in layout.lanes:
        addresses = [address for chain in lane.chains for address in layout.chains[chain].nodes]
        stateful = sum(any(by_address[a].kind == "stateful" for a in layout.chains[chain].nodes) for chain in lane.chains)
        shared.append((f"counters and state of {lane.name}", lane.replicas * (LEDGER_BYTES + stateful * 2 * STATE_BYTES)))
        loaded = {by_address[a].model for a in addresses if by_address[a].engine is not None}
        weights = sum(MODEL_COPIES * sizes.get(str(digest), 0) for digest in loaded)
        for batch in lane.batches:
            rows = sum(_row_bytes(signatures[str(model)]) for group in batch.nodes if (model := by_address[group[0]].model) in signatures)
            ram.append((f"batches of up to {batch.most} frames in {lane.name}", lane.replicas * batch.most * rows))
        ram.append(
            (f"the {'workers' if lane.replicas > 1 else 'worker'} of {lane.name}", lane.replicas * (weights + processes * WORKER_BYTES))
        )
    if not processes:
        ram.append(("the process", WORKER_BYTES))
    return Budget(tuple(shared), tuple(ram))


def refuse(needed: Budget, available: int, device: str, without: Sequence[str], problems: Problems) -> None:
    """Refuses a plan that does not fit, with both numbers, what takes most, and without which businesses it would fit."""
    most = sorted((*needed.shared, *needed.ram), key=lambda part: -part[1])[:3]
    problems.add(
        Position(device),
        "memory",
        expected=f"a plan that fits into the {available} bytes ({_mb(available)}) of memory that are available",
        got=f"one that needs {needed.bytes} bytes ({_mb(needed.shared_bytes)} shared, about {_mb(needed.ram_bytes)} more for workers and "
        "models)",
        hint="most of it: "
        + "; ".join(f"{what} {_mb(size)}" for what, size in most)
        + "; use fewer or smaller streams or fewer workers"
        + (f"; without {' and '.join(without)} it would fit" if without else ""),
    )


def labels(specs: Mapping[Ref, Spec], names: Mapping[str, str]) -> dict[Ref, str]:
    """What each value is called in messages."""
    return {ref: f"{names.get(ref.address, ref.address)}.{ref.port} ({spec})" for ref, spec in specs.items()}


def _row_bytes(model: ModelInfo) -> int:
    """Inputs and outputs of one frame."""
    return sum(spec.nbytes for _, spec in (*model.inputs, *model.outputs))


def _file_bytes(model: ModelInfo) -> int:
    try:
        return model.path.stat().st_size
    except OSError:
        return 0


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
