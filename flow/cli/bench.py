from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flow.cli.options import nearest, pairs

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
Dims = Annotated[
    list[str] | None,
    typer.Option(
        "--dims",
        metavar="NAME=SIZE",
        help="Size of a dimension that the file leaves open, by its name there, or as TENSOR:INDEX where it has none.",
        callback=pairs("NAME=SIZE", "height=480"),
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: an object, or a list where several engines are measured.")]


@bench.callback()
def group() -> None:
    """Keeps `bench` a group while it has one command."""


@bench.command()
def model(
    file: File, engine: Engine = None, precision: Precision = "auto", threads: Threads = 1, dims: Dims = None, json: Json = False
) -> None:
    """Measure latency, load time and memory of one model on random input.

    Each engine runs in a process of its own; peak_mb is the largest resident memory of that process.
    """
    from flow.cli.failure import failures
    from flow.cli.live import live
    from flow.cli.table import show

    check_there(file)
    given = sizes(dims)
    with failures(), live() as screen:
        import devices

        def progress(done: int, runs: int) -> None:
            if screen is not None:
                screen(f"{done} of {runs} runs")

        measured = devices.bench_model(
            file, engines=engine or ["auto"], precision=precision, threads=threads, dims=given, progress=progress
        )
    if json:
        from json import dumps

        print(dumps(measured if len(engine or ()) > 1 else measured[0], indent=2))
    else:
        rows = [
            [f"{value:.2f}" if isinstance(value, float) else str(value) for name, value in each.items() if name != "model"]
            for each in measured
        ]
        show(str(file), [name for name in measured[0] if name != "model"], rows)
        if any(each["engine"] == "native" for each in measured):
            with failures():
                show_floats(file, given)


def show_floats(file: Path, given: dict[str, int]) -> None:
    """Says which layers of a quantized model native runs in float32, and why."""
    from devices.model import inspect
    from devices.native.floats import float_layers_of
    from flow.cli.graphs import in_float

    for line in in_float(float_layers_of(file, dict(inspect(file, dims=given).dims))):
        print(line)


def check_there(file: Path) -> None:
    """Refuses a file that is not there, naming the models that are. Raises typer.BadParameter."""
    if file.exists():
        return
    there = sorted(each.name for each in file.parent.glob("*.onnx")) if file.parent.is_dir() else []
    if file.parent.is_dir():
        got = f"in {file.parent.absolute()} there is {', '.join(there[:12]) + (' …' if len(there) > 12 else '') or 'none'}"
    else:
        got = f"there is no folder {file.parent}"
    raise typer.BadParameter(
        f"expected an ONNX file, got {file}, which does not exist: {got}{nearest(file.name, there)}", param_hint="FILE"
    )


def sizes(dims: list[str] | None) -> dict[str, int]:
    """NAME=SIZE pairs as a mapping. Raises typer.BadParameter."""
    found = {}
    for each in dims or ():
        name, _, size = each.rpartition("=")
        if not size.isdecimal() or not int(size):
            raise typer.BadParameter(f"expected a size of 1 or more, as in height=480; got {each!r}", param_hint="'--dims'")
        found[name] = int(size)
    return found
