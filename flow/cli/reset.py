from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flow.cli.remote import ADDRESS, Cloud

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="A device's name, or the beginning of its key.", show_default=False)]
Cohort = Annotated[
    str, typer.Option("--cohort", metavar="NAME", help="All devices of a cohort: a second person must agree.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the reset.", show_default=False)]
Agree = Annotated[
    int | None, typer.Option("--agree", metavar="NUMBER", help="Agree to a reset that somebody else asked for.", show_default=False)
]


Local = Annotated[
    bool, typer.Option("--local", help="This device, without a cloud: for root, or the owner of its store. Works with a broken database.")
]
Folder = Annotated[Path, typer.Option("--store", metavar="DIR", help="With --local: the folder of the agent's store.")]


def reset(
    device: Device = "",
    cohort: Cohort = "",
    reason: Reason = "",
    agree: Agree = None,
    local: Local = False,
    store: Folder = Path("/var/lib/ace"),
    cloud: Cloud = ADDRESS,
) -> None:
    """Return a device to its factory state.

    There it stays until a newer state is approved.
    """
    from flow.cli.failure import failures
    from flow.cli.remote import ask, changed

    if local:
        if device or cohort or agree is not None:
            raise typer.BadParameter("expected --local alone: it resets the device that it runs on")
        with failures():
            from manifests.store.reset import reset_local

            print(reset_local(store, reason or "ace reset --local"))
        return
    if agree is None and bool(device) == bool(cohort):
        raise typer.BadParameter("expected a DEVICE or --cohort, one of the two")
    if agree is None and not reason.strip():
        raise typer.BadParameter("expected --reason TEXT: it is kept with the reset")
    with failures():
        if agree is not None:
            changed(ask(cloud, "POST", f"/v1/resets/{agree}/agree"))
            return
        done = ask(cloud, "POST", "/v1/resets", {"devices": [device] if device else [], "cohort": cohort, "reason": reason})
        if "waits" in done:
            waits = done["waits"]
            print(f"reset {waits['id']} of {waits['devices']} devices waits for a second person, for 10 minutes:")
            print(f"ace reset --agree {waits['id']}")
        else:
            changed(done)
