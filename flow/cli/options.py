"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

WORKERS = ("auto", "threads", "processes")
LINKS = ("auto", "zmq")


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint at the name that was probably meant; empty when none is near."""
    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def one_of(*names: str) -> Callable[[Any], Any]:
    """A callback that takes one of `names` (or a list of them) and refuses others with the nearest one."""

    def check(value: Any) -> Any:
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each is not None and each not in names:
                raise typer.BadParameter(f"expected {', '.join(names)}, got {each!r}{nearest(each, names)}")
        return value

    return check


def pairs(option: str, example: str) -> Callable[[Any], Any]:
    """A callback that takes a list of NAME=VALUE and refuses anything else."""

    def check(value: Any) -> Any:
        for each in value or ():
            name, sign, rest = each.partition("=")
            if not (name and sign and rest):
                raise typer.BadParameter(f"expected {option}, as in {example}; got {each!r}")
        return value

    return check


def bindings(values: Sequence[str] | None) -> dict[str, str]:
    """INPUT=SOURCE pairs as a mapping. Raises typer.BadParameter for an input that is bound twice."""
    bound: dict[str, str] = {}
    for each in values or ():
        name, _, source = each.partition("=")
        if name in bound:
            raise typer.BadParameter(f"{name} is bound twice: to {bound[name]!r} and to {source!r}", param_hint="'--bind'")
        bound[name] = source
    return bound


def targets(values: Sequence[str] | None) -> dict[str, list[str]]:
    """OUTPUT=SINK pairs as output -> sinks, in the order given."""
    wanted: dict[str, list[str]] = {}
    for each in values or ():
        name, _, sink = each.partition("=")
        wanted.setdefault(name, []).append(sink)
    return wanted


Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Manifests: YAML or JSON files, or folders of them.", show_default=False)]
Bind = Annotated[
    list[str] | None,
    typer.Option(
        "--bind",
        metavar="INPUT=SOURCE",
        help="Give a business's input a source: a file, a folder of images, rtsp://, v4l2:, zmq:tcp:// or synthetic:SCENE. "
        "BUSINESS.INPUT=SOURCE where names clash.",
        callback=pairs("INPUT=SOURCE", "camera=clip.mp4"),
        show_default=False,
    ),
]
Out = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        metavar="OUTPUT=SINK",
        help="Write an output to FILE.jsonl, FILE.mp4 (annotated video), zmq:tcp://HOST:PORT or - (standard output). "
        "Without it all outputs go to standard output.",
        callback=pairs("OUTPUT=SINK", "pets=out.jsonl"),
        show_default=False,
    ),
]
Workers = Annotated[
    str, typer.Option("--workers", metavar="auto|threads|processes", help="How lanes of the plan run.", callback=one_of(*WORKERS))
]
Link = Annotated[str, typer.Option("--link", metavar="auto|zmq", help="What carries frames between workers.", callback=one_of(*LINKS))]
Frames = Annotated[int | None, typer.Option("--frames", metavar="N", min=1, help="End after N frames of every stream.", show_default=False)]
