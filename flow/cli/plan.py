from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flow.cli.options import Bind, Link, Out, Paths, Workers, nearest, one_of

if TYPE_CHECKING:
    from flow.plan.value import Plan

Format = Annotated[
    str,
    typer.Option(
        "--format", metavar="text|json|svg", help="Text to read, JSON for programs, SVG to look at.", callback=one_of("text", "json", "svg")
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Show this model's graph instead, before and after compiling.", show_default=False),
]


def plan(
    paths: Paths,
    bind: Bind = None,
    out: Out = None,
    workers: Workers = "auto",
    link: Link = "auto",
    format: Format = "text",
    model: Model = None,
) -> None:
    """Show what will run where, and what memory it needs.

    Nothing is started.
    """
    from flow.cli.failure import failures
    from flow.cli.planned import planned

    with failures():
        made = planned(paths, bind=bind, out=out, workers=workers, link=link)
        print(shown(made, format) if model is None else graphs_of(made, model, format))


def shown(made: Plan, format: str) -> str:
    """The plan in this format."""
    from flow.plan import views

    match format:
        case "json":
            return json.dumps(views.document(made), indent=2)
        case "svg":
            return views.drawing(made)
        case _:
            return views.text(made)


def graphs_of(made: Plan, name: str, format: str) -> str:
    """Both graphs of a model of the plan. Raises typer.BadParameter for a model that is not in it."""
    from flow.cli import graphs

    known = {selector: model for model in made.models for selector in (f"{model.name}@{model.version}", model.name)}
    if name not in known:
        names = [model.name for model in made.models]
        raise typer.BadParameter(
            f"expected {', '.join(names) or 'no model, for the plan has none'}, got {name!r}{nearest(name, names)}", param_hint="'--model'"
        )
    model = known[name]
    nodes = [node for node in made.nodes if node.engine and made.model(node) == model]
    engine, why = next(((str(node.engine), node.why) for node in nodes), ("onnxruntime", "no node runs it"))
    found = graphs.graphs(model, engine, why)
    match format:
        case "json":
            return json.dumps(graphs.document(found), indent=2)
        case "svg":
            from flow.cli.model_drawing import drawing

            return drawing(found)
        case _:
            return "\n".join(graphs.text(found))
