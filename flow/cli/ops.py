from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ops.catalog import Kind
    from ops.contract import Port

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="An operator, to see its ports and settings.", show_default=False)]

COLUMNS = ("operator", "kind", "reads", "gives", "does")


def ops(name: Name = None) -> None:
    """List the operator library, or show one operator."""
    from flow.cli.failure import failures

    with failures():
        from ops import catalog

        if name is not None:
            print("\n".join(description(catalog.find(name))))
            return
        from flow.cli.table import show

        show("Operators", COLUMNS, [row(kind) for kind in catalog.all().values()])
        for broken in catalog.broken():
            print(broken, file=sys.stderr)


def row(kind: Kind) -> list[str]:
    """One line of the library's table."""
    reads = ["model"] if kind.needs_model else []
    return [kind.op, nature(kind), ", ".join([*named(kind.inputs), *reads]), ", ".join(named(kind.outputs)), documentation(kind)[0]]


def description(kind: Kind) -> list[str]:
    """An operator with its ports and settings, as lines of text."""
    from flow.cli.settings import settings

    lines = [f"{kind.op} ({nature(kind)}{', needs a model' if kind.needs_model else ''})", ""]
    lines += [f"  {line}".rstrip() for line in documentation(kind)]
    for title, ports in (("reads", kind.inputs), ("gives", kind.outputs)):
        lines += ["", f"{title}:"]
        lines += [f"  {port_name}: {port_text(port)}" for port_name, port in ports.items()]
    about = inspect.cleandoc(kind.Config.__doc__ or "").splitlines()
    found = settings(kind.Config)
    if found:
        lines += ["", "config:", *(f"  {line}".rstrip() for line in about), ""]
        lines += [f"  {each.name}: {each.takes} ({each.default})" for each in found]
    return lines


def documentation(kind: Kind) -> list[str]:
    """The class's docstring, at least one line."""
    return inspect.cleandoc(kind.__doc__ or "").splitlines() or [""]


def nature(kind: Kind) -> str:
    """pure, stateful, random or composite."""
    from ops.contract import Operator

    return kind.kind if issubclass(kind, Operator) else "composite"


def named(ports: Mapping[str, Port]) -> list[str]:
    """`name: kinds` of each port."""
    return [f"{name}: {' | '.join(port.kinds)}{' (list)' if port.many else ''}" for name, port in ports.items()]


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
