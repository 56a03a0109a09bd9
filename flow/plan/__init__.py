"""From manifests to one plan: what will run, where, and what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.plan.codec import PlanError
    from flow.plan.make import make_plan
    from flow.plan.value import Plan

__all__ = ["Plan", "PlanError", "make_plan"]


def __getattr__(name: str) -> Any:
    match name:  # a worker needs the plan's value, not what makes it
        case "make_plan":
            from flow.plan.make import make_plan

            return make_plan
        case "PlanError":
            from flow.plan.codec import PlanError

            return PlanError
        case "Plan":
            from flow.plan.value import Plan

            return Plan
    raise AttributeError(f"module 'flow.plan' has no attribute {name!r}")
