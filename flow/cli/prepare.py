from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from flow.cli.options import Paths

if TYPE_CHECKING:
    from devices.prepare import Prepared
    from flow.plan.value import Plan


def prepare(paths: Paths) -> None:
    """Compile models ahead, and measure which engine is faster.

    Kernels and programs of the native engine lie in the cache folder (ACE_CACHE) afterwards; what is there already is not made again. A
    model that native covers wholly and runs faster runs on it from then on, where no manifest names an engine. Sources need not be there.
    """
    from flow.cli.failure import WRONG_INPUT, failures
    from flow.cli.live import live
    from flow.cli.run import say
    from flow.cli.unseen import unseen

    with failures():
        plan, names = unseen(paths)
        if not names:
            say("expected a business to prepare, got none; give the path of its manifest (kind: Business)")
            raise typer.Exit(WRONG_INPUT)
        with live() as screen:
            from devices.prepare import prepare
            from flow.prepare import ready

            done = prepare(plan.models, say, screen)
            plan, _ = unseen(paths)
            done += [each for each in ready(plan, say) if each.path not in {other.path for other in done}]
    show_all(done, plan)


def show_all(done: Sequence[Prepared], plan: Plan) -> None:
    """What is there now, and what each model runs on."""
    from flow.cli.table import show
    from flow.plan.text import engines, size

    rows = [[each.what, "made" if each.made else "was there", size(each.nbytes), str(each.path)] for each in done]
    show("Prepared", ("", "", "size", "where"), rows)
    print()
    show("Engines", ("model", "runs on", "because"), [list(row) for row in engines(plan)])
    if not any(each.made for each in done):
        print("everything is there", file=sys.stderr)
