from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="Measure speed and memory.", no_args_is_help=True, rich_markup_mode=None)

File = Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file.", show_default=False)]
Engine = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        metavar="E",
        help="An engine of `ace devices`; several are measured in turns, so that noise meets all of them.",
        show_default=False,
    ),
]
Precision = Annotated[str, typer.Option("--precision", metavar="P", help="Precision the engine computes in.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, max=1024, help="Threads of one run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: an object, or a list where several engines are measured.")]


@bench.callback()
def group() -> None:
    """Keeps `bench` a group while it has one command."""


@bench.command()
def model(file: File, engine: Engine = None, precision: Precision = "auto", threads: Threads = 1, json: Json = False) -> None:
    """Measure latency, load time and memory of one model on random input.

    Each engine runs in a process of its own; peak_mb is the largest resident memory of that process.
    """
    from flow.cli.failure import failures
    from flow.cli.live import live
    from flow.cli.table import show

    with failures(), live() as screen:
        import devices

        def progress(done: int, runs: int) -> None:
            if screen is not None:
                screen(f"{done} of {runs} runs")

        measured = devices.bench_model(file, engines=engine or ["auto"], precision=precision, threads=threads, progress=progress)
    if json:
        from json import dumps

        print(dumps(measured if len(engine or ()) > 1 else measured[0], indent=2))
    else:
        rows = [
            [f"{value:.2f}" if isinstance(value, float) else str(value) for name, value in each.items() if name != "model"]
            for each in measured
        ]
        show(str(file), [name for name in measured[0] if name != "model"], rows)
