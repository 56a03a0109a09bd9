"""Whether a plan fits beside the running one, from both plans alone."""

from __future__ import annotations

from dataclasses import dataclass

from flow.plan.admit import MODEL_COPIES, WORKER_BYTES
from flow.plan.value import Plan
from flow.switch.succession import Succession
from manifests.sync.estimate import gap_s


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that come and go with a switch, and about how long loading takes."""

    coming: int
    leaving: int
    load_s: float


def need(succession: Succession) -> Need:
    """What a switch needs while both plans are there; memory that is shared counts in full, as a bound."""
    coming, models = _bytes(succession.after, succession.coming)
    leaving, _ = _bytes(succession.before, succession.leaving)
    return Need(coming + succession.after.shared_memory_bytes, leaving, gap_s(models))


def _bytes(plan: Plan, lanes: frozenset[int]) -> tuple[int, int]:
    """(bytes of these lanes' workers with their models, bytes of model files)."""
    total = files = 0
    for lane in (lane for lane in plan.lanes if lane.id in lanes):
        nodes = [plan.node(address) for chain in plan.chains if chain.id in lane.chains for address in chain.nodes]
        loaded = {model.path for node in nodes if node.engine is not None and (model := plan.model(node)) is not None}
        size = sum(path.stat().st_size for path in loaded if path.exists())
        files += size
        total += lane.replicas * (MODEL_COPIES * size + (WORKER_BYTES if plan.workers == "processes" else 0))
    return total, files
