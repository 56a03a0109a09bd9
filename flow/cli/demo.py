from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flow.cli.view import PICTURE, is_view, view_of, with_views

if TYPE_CHECKING:
    from rich.table import Table

    from flow.cli.figures import Rates
    from flow.plan.value import Plan
    from manifests.deployment import Deployment

UNWATCHED_FRAMES = 300
"""Frames of a demo that nobody looks at."""

Frames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        metavar="N",
        min=1,
        help="End after N frames of every camera.",
        show_default=f"until Ctrl-C; {UNWATCHED_FRAMES} without a terminal",
    ),
]
Video = Annotated[
    Path, typer.Option("--out", metavar="FILE.mp4", help="Annotated video of the first camera; others are written beside it.")
]  # fmt: skip


def demo(frames: Frames = None, out: Video = Path("ace-demo.mp4")) -> None:
    """Run the built-in businesses on the synthetic camera.

    Gesture recognition and pet detection share one detector on one camera, pen-tip detection runs on a second one. The results are drawn
    into a video a camera.
    """
    from flow.cli.failure import failures

    if frames is None and not sys.stderr.isatty():
        frames = UNWATCHED_FRAMES
    with failures(), tempfile.TemporaryDirectory(prefix="ace-demo-") as folder:
        import flow
        import manifests
        from manifests import examples

        deployment = with_views(manifests.load(examples.path()))
        rows = {name: Path(folder, f"{name}.jsonl") for name in _results(deployment)}
        videos = _videos(deployment, out)
        written = {name: [str(path)] for name, path in {**rows, **videos}.items()}
        status = _watched(flow.make_plan(deployment, out=written), frames, rows)
        print(f"annotated video: {', '.join(map(str, videos.values()))}", file=sys.stderr)
    raise typer.Exit(status)


def _results(deployment: Deployment) -> list[str]:
    return [f"{use.business.name}.{output}" for use in deployment.uses for output in use.business.outputs if output != PICTURE]


def _videos(deployment: Deployment, out: Path) -> dict[str, Path]:
    """Where the picture of each stream is written: the first to `out`, others beside it."""
    return {
        f"{view_of(stream)}.{PICTURE}": out if number == 0 else out.with_stem(f"{out.stem}-{stream}")
        for number, stream in enumerate(deployment.streams)
    }


def _watched(plan: Plan, frames: int | None, rows: Mapping[str, Path]) -> int:
    """Runs the plan with live figures on a terminal; a summary at the end."""
    from flow.cli.figures import Rates, summary
    from flow.cli.live import live
    from flow.cli.run import running
    from flow.plan.text import goals

    rates = Rates()
    with live() as screen:

        def show(snapshot: Mapping[str, Any]) -> None:
            rates.look(snapshot)
            if screen is not None:
                screen(figures(snapshot, rates, rows))

        status, report = running(plan, frames=frames, show=show if screen is not None else None)
    print("\n".join([*summary(report, goals(plan)), *shared(report)]), file=sys.stderr)
    return status


def shared(report: Mapping[str, Any]) -> list[str]:
    """A line for each inference that serves several businesses."""
    served = {address: [name for name in node["businesses"] if not is_view(name)] for address, node in report["nodes"].items()}
    return [
        f"{node['runs']} inferences, each of them for {' and '.join(served[address])}"
        for address, node in report["nodes"].items()
        if node["op"] == "nn.infer" and len(served[address]) > 1
    ]


def figures(snapshot: Mapping[str, Any], rates: Rates, rows: Mapping[str, Path]) -> Table:
    """The live table: a row for each output, and below it the cameras and what is shared."""
    from rich.table import Table
    from rich.text import Text

    from flow.cli.figures import count, milliseconds, outputs, total
    from flow.cli.latest import last_row, told

    cameras = "   ".join(
        f"{name}: {rates.of_stream(name, 'in'):.0f} frames a second, {count(total(stream['dropped']), 'drop')}"
        for name, stream in snapshot["streams"].items()
    )
    table = Table(caption=Text("\n".join([cameras, *shared(snapshot)])), caption_justify="left")
    for column in ("business", "a second", "results", "median", "p99", "last result"):
        table.add_column(column, justify="left" if column in ("business", "last result") else "right")
    for name, output in outputs(snapshot):
        if name in rows:
            business, _, short = name.partition(".")
            latency = output["latency_ms"]
            table.add_row(
                business, f"{rates.of_output(business, short):.1f}", str(output["results"]), milliseconds(latency["p50"]),
                milliseconds(latency["p99"]), Text(told(last_row(rows[name]))),
            )  # fmt: skip
    return table
