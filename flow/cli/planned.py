"""From the paths and options of a command to a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flow.cli.options import bindings, targets

if TYPE_CHECKING:
    from flow.plan.value import LinkMode, Plan, WorkerMode
    from manifests.deployment import Deployment


def planned(
    paths: Sequence[Path],
    *,
    bind: Sequence[str] | None = None,
    out: Sequence[str] | None = None,
    workers: str = "auto",
    link: str = "auto",
    show_results: bool = False,
) -> Plan:
    """The plan for these manifests. `show_results`: without `out`, every output goes to standard output.

    Raises ManifestError, PlanError, SourceError, SinkError, EngineError.
    """
    import flow
    import manifests

    deployment = manifests.load(*paths, bind=bindings(bind))
    wanted: Mapping[str, Sequence[str]] = targets(out)
    if not wanted and show_results:
        wanted = to_standard_output(deployment)
    return flow.make_plan(deployment, out=wanted, workers=cast("WorkerMode", workers), link=cast("LinkMode", link))


def to_standard_output(deployment: Deployment) -> dict[str, list[str]]:
    """Every output of every business on standard output."""
    named = Counter(output for use in deployment.uses for output in use.business.outputs)
    return {
        output if named[output] == 1 else f"{use.business.name}.{output}": ["-"]
        for use in deployment.uses
        for output in use.business.outputs
    }
