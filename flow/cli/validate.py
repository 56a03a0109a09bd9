from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flow.cli.figures import count
from flow.cli.options import Paths

if TYPE_CHECKING:
    from flow.sources.contract import Probe

ANY_SOURCE = "synthetic:home"
"""Stands in for inputs that nothing binds."""

NO_LIMIT = 2**62


def validate(paths: Paths) -> None:
    """Check manifests: form, operators, settings, ports, models.

    Every problem is named with file and line. Sources are not opened, so the cameras need not be there; pictures are taken to be 640 x 360
    where the manifest does not give a size. Exit status 2 when something is wrong.
    """
    from flow.cli.failure import failures

    with failures():
        from dataclasses import replace

        import flow
        import manifests
        from flow.cli.planned import tell_skipped

        deployment = manifests.load(*paths, unbound=ANY_SOURCE)
        tell_skipped(deployment)
        public = {name: stream.model_copy(update={"secret": None}) for name, stream in deployment.streams.items()}
        plan = flow.make_plan(replace(deployment, streams=public), probe=look_away, memory=NO_LIMIT)
    names = [use.business.name for use in deployment.uses]
    if names:
        print(f"valid: {', '.join(names)} ({count(len(plan.nodes), 'node')}, {count(len(plan.models), 'model')})", file=sys.stderr)
    else:
        print("valid, but there is no business to run; a model is read when a business uses it", file=sys.stderr)


def look_away(uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
    """A probe that believes the manifest. Raises SourceError for a scheme that nothing reads."""
    from devices.spec import ImageSpec
    from flow import sources

    sources.find(uri)
    width, height = options.get("size", (640, 360))
    return sources.Probe(ImageSpec(width, height, "yuv420p"), options.get("fps", 25.0), live=False)
