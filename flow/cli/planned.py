"""From the paths and options of a command to a plan."""

from __future__ import annotations

import sys
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
) -> Plan:
    """The plan for these manifests. Without `out`, every output goes to standard output.

    Raises ManifestError, PlanError, SourceError, SinkError, EngineError.
    """
    import flow
    import manifests

    deployment = manifests.load(*paths, bind=bindings(bind))
    tell_skipped(deployment)
    wanted: Mapping[str, Sequence[str]] = targets(out) or to_standard_output(deployment)
    return flow.make_plan(deployment, out=wanted, workers=cast("WorkerMode", workers), link=cast("LinkMode", link))


def tell_skipped(deployment: Deployment) -> None:
    """Says on standard error which files of the given folders were not read."""
    from manifests.document import few

    if deployment.skipped:
        print(f"skipped, for they do not say `apiVersion: ace/v1`: {few(deployment.skipped)}", file=sys.stderr)


def to_standard_output(deployment: Deployment) -> dict[str, list[str]]:
    """Every output of every business on standard output."""
    named = Counter(output for use in deployment.uses for output in use.business.outputs)
    return {
        output if named[output] == 1 else f"{use.business.name}.{output}": ["-"]
        for use in deployment.uses
        for output in use.business.outputs
    }
