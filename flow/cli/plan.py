from __future__ import annotations

from typing import Annotated

import typer

from flow.cli.options import Bind, Link, Out, Paths, Workers, one_of

Format = Annotated[
    str,
    typer.Option(
        "--format", metavar="text|json|svg", help="Text to read, JSON for programs, SVG to look at.", callback=one_of("text", "json", "svg")
    ),
]


def plan(paths: Paths, bind: Bind = None, out: Out = None, workers: Workers = "auto", link: Link = "auto", format: Format = "text") -> None:
    """Show what will run where, and what memory it needs. Nothing is started."""
    import json

    from flow.cli.failure import failures
    from flow.cli.planned import planned

    with failures():
        made = planned(paths, bind=bind, out=out, workers=workers, link=link)
        from flow.plan import views

        match format:
            case "json":
                print(json.dumps(views.document(made), indent=2))
            case "svg":
                print(views.drawing(made))
            case _:
                print(views.text(made))
