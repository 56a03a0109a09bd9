"""How frames move: plan, pool, link, worker, executor, sources, sinks, command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.executor import Executor
    from flow.plan import make_plan

__all__ = ["Executor", "make_plan"]


def __getattr__(name: str) -> Any:
    if name == "make_plan":
        from flow.plan import make_plan

        return make_plan
    if name == "Executor":
        from flow.executor import Executor

        return Executor
    raise AttributeError(f"module 'flow' has no attribute {name!r}")
