"""What a plan needs made ahead, before its workers start: image kernels, and kernels and programs of the models that run on native."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flow.plan.value import Plan

if TYPE_CHECKING:
    from devices import ModelInfo
    from devices.prepare import Prepared

NATIVE = "native"


def ready(plan: Plan, report: Callable[[str], None] | None = None) -> list[Prepared]:
    """Makes what is missing, in processes of their own; `report` hears of each step. Raises EngineError, KernelError."""
    from devices import prepare

    return prepare.ready(native_models(plan), report)


def native_models(plan: Plan) -> list[ModelInfo]:
    """The models of the plan that run on native, each once."""
    found = [plan.model(node) for node in plan.nodes if node.engine == NATIVE]
    return list(dict.fromkeys(model for model in found if model is not None))
