from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ops.contract import Port
    from ops.describe import Description

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="An operator, to see its ports and settings.", show_default=False)]

COLUMNS = ("operator", "reads → gives", "does")

SENTENCE = re.compile(r"(?<=[.!?])\s")


def ops(name: Name = None) -> None:
    """List the operator library, or show one operator."""
    from flow.cli.failure import failures

    with failures():
        from ops import catalog

        if name is not None:
            print("\n".join(lines(catalog.describe(catalog.find(name)))))
            return
        from flow.cli.table import show

        show("Operators", COLUMNS, [row(catalog.describe(kind)) for kind in catalog.all().values()])
        for broken in catalog.broken():
            print(broken, file=sys.stderr)


def row(about: Description) -> list[str]:
    """One line of the library's table: the kinds of its ports, and the first sentence of what it says of itself."""
    reads = [*kinds(about.inputs), *(["model"] if about.needs_model else [])]
    does = SENTENCE.split(about.doc.partition("\n\n")[0].replace("\n", " "), 1)[0]
    return [about.name, f"{', '.join(reads)} → {', '.join(kinds(about.outputs))}", does]


def lines(about: Description) -> list[str]:
    """An operator with its ports and settings, as lines of text."""
    said = [f"{about.name} ({about.kind}{', needs a model' if about.needs_model else ''})", ""]
    said += [f"  {line}".rstrip() for line in about.doc.splitlines()]
    for title, ports in (("reads", about.inputs), ("gives", about.outputs)):
        said += ["", f"{title}:", *(f"  {name}: {port_text(port)}" for name, port in ports.items())]
    if about.steps:
        said += ["", "stands for:", *(f"  {name}: {op}" for name, op in about.steps.items())]
    if about.settings:
        said += ["", "config:"]
    for setting in about.settings:
        default = "required" if setting.required else "none" if setting.default is None else json.dumps(setting.default, default=plain)
        said += [f"  {setting.name}: {setting.type} ({default})", *([f"    {setting.doc}"] if setting.doc else [])]
    return said


def plain(value: object) -> object:
    """What JSON has no word for: a set as a list, anything else by its keys."""
    return sorted(value) if isinstance(value, Set) else dict(value)  # type: ignore[call-overload]


def kinds(ports: Mapping[str, Port]) -> list[str]:
    """What flows through these ports, each kind once."""
    return list(dict.fromkeys(kind for port in ports.values() for kind in port.kinds))


def port_text(port: Port) -> str:
    """A port in words."""
    text = " | ".join(port.kinds)
    if port.formats:
        text += f" as {', '.join(port.formats)}"
    if port.many:
        text += ", all of a frame at once"
    if port.optional:
        text += ", optional"
    return f"{text} ({port.doc})" if port.doc else text
