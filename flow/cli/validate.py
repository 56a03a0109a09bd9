from __future__ import annotations

import sys

from flow.cli.figures import count
from flow.cli.options import Paths


def validate(paths: Paths) -> None:
    """Check manifests: form, operators, settings, ports, models.

    Every problem is named with file and line. Sources are not opened, so the cameras need not be there; pictures are taken to be 640 x 360
    where the manifest does not give a size. Exit status 2 when something is wrong.
    """
    from flow.cli.failure import failures

    with failures():
        from flow.cli.unseen import unseen

        plan, names = unseen(paths)
    if names:
        print(f"valid: {', '.join(names)} ({count(len(plan.nodes), 'node')}, {count(len(plan.models), 'model')})", file=sys.stderr)
    else:
        print("valid, but there is no business to run; a model is read when a business uses it", file=sys.stderr)
