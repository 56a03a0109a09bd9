"""What a worker is started with while plans change: which plan it knows, and what it has to wait for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flow.plan.codec import encode_plan
from flow.plan.value import Plan
from flow.worker.setup import Farewell, Passage


@dataclass(frozen=True, slots=True)
class Terms:
    """`digest` is that of a plan that workers may know from their birth, else empty; `epoch` is that of the plan's frames.

    `passage`: the way to the next plan. `farewell`: what a worker that leaves is told. `held`: chains that wait for what they inherit,
    `waiting`: sinks that others still write.
    """

    plan: Plan
    plan_json: str
    digest: str
    epoch: int
    passage: Passage | None = None
    held: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    farewell: Farewell | None = None


def terms(plan: Plan, epoch: int, *, digest: str = "", passage: Passage | None = None) -> Terms:
    """The terms of a worker of this plan."""
    return Terms(plan, encode_plan(plan).decode(), digest, epoch, passage)


def waiting(known: Terms, held: tuple[int, ...], sinks: tuple[int, ...]) -> Terms:
    """The same for a worker some of whose chains and sinks have to wait."""
    return replace(known, held=held, waiting=sinks)
