from __future__ import annotations

from flow.cli.options import Bind, Paths


def explain(paths: Paths, bind: Bind = None) -> None:
    """Show which work businesses share, and what that saves."""
    from flow.cli.failure import failures
    from flow.cli.planned import planned

    with failures():
        made = planned(paths, bind=bind)
        from flow.plan import views

        print(views.explain(made))
