from __future__ import annotations

from typing import Annotated

import typer

from flow.cli.remote import ADDRESS, Cloud, Device

Items = Annotated[list[str], typer.Argument(metavar="NAME[@VERSION]…", help="model/NAME or business/NAME.", show_default=False)]


def download(device: Device, items: Items, cloud: Cloud = ADDRESS) -> None:
    """Have a device fetch and keep models and businesses.

    What runs does not change.
    """
    from flow.cli.failure import failures
    from flow.cli.remote import ask, changed

    with failures():
        changed(ask(cloud, "POST", "/v1/download", {"device": device, "items": items}))
