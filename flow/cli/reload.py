from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from flow.cli.options import pairs
from flow.cli.remote import ADDRESS, Cloud, Device
from flow.cli.shadow import Agreement, Cpu, Memory, Shadow, Share, Slower, condition

Item = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="model/NAME or business/NAME.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Refuse the whole reload where one business refuses the model.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NODE.KEY=VALUE",
        help="Change a tunable setting of the business.",
        callback=pairs("NODE.KEY=VALUE", "boxes.score=0.5"),
    ),
]
Probation = Annotated[
    float | None,
    typer.Option("--probation", metavar="SECONDS", min=0, help="How long it must prove itself before it stays.", show_default=False),
]
Impact = Annotated[bool, typer.Option("--impact", help="Only say what it would do.")]


def reload(
    device: Device,
    item: Item,
    all: All = False,
    set: Set = None,
    probation: Probation = None,
    shadow: Shadow = None,
    agreement: Agreement = None,
    slower: Slower = None,
    memory: Memory = None,
    share: Share = None,
    cpu: Cpu = None,
    impact: Impact = False,
    cloud: Cloud = ADDRESS,
) -> None:
    """Have a device run another version of a model or business.

    A model is changed in every business that takes it.
    """
    from flow.cli.failure import failures
    from flow.cli.remote import ask, changed, foreseen

    tried = condition(shadow, agreement=agreement, slower=slower, memory=memory, share=share, cpu=cpu)
    with failures():
        body = {
            "device": device,
            "items": [item],
            "all": all,
            "probation_s": probation,
            "set": {key: value(text) for key, _, text in (each.partition("=") for each in set or ())},
            "shadow": tried,
        }
        if impact:
            foreseen(ask(cloud, "POST", "/v1/impact/reload", body))
        else:
            changed(ask(cloud, "POST", "/v1/reload", body))


def value(text: str) -> Any:
    """A number, true or false where it is one; otherwise text."""
    try:
        read = json.loads(text)
    except ValueError:
        return text
    return read if isinstance(read, (bool, int, float)) else text
