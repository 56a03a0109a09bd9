"""The plan of manifests whose sources need not be there: for checking, and for making things ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.plan.value import Plan
    from flow.sources.contract import Probe

ANY_SOURCE = "synthetic:home"
"""Stands in for inputs that nothing binds."""

NO_LIMIT = 2**62


def unseen(paths: Sequence[Path]) -> tuple[Plan, list[str]]:
    """The plan, and the names of its businesses. Pictures are taken to be 640 x 360 where the manifest gives no size.

    Raises ManifestError, EngineError, SourceError.
    """
    from dataclasses import replace

    import flow
    import manifests
    from flow.cli.planned import tell_skipped

    deployment = manifests.load(*paths, unbound=ANY_SOURCE)
    tell_skipped(deployment)
    public = {name: stream.model_copy(update={"secret": None}) for name, stream in deployment.streams.items()}
    plan = flow.make_plan(replace(deployment, streams=public), probe=look_away, memory=NO_LIMIT)
    return plan, [use.business.name for use in deployment.uses]


def look_away(uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
    """A probe that believes the manifest. Raises SourceError for a scheme that nothing reads."""
    from devices.spec import ImageSpec
    from flow import sources

    sources.find(uri)
    width, height = options.get("size", (640, 360))
    return sources.Probe(ImageSpec(width, height, "yuv420p"), options.get("fps", 25.0), live=False)
