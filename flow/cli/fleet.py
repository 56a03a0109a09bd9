from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flow.cli.remote import ADDRESS, Cloud, Device

fleet = typer.Typer(no_args_is_help=True, help="Devices, bundles and people of the cloud.", rich_markup_mode=None)

Cohort = Annotated[str, typer.Option("--cohort", metavar="NAME", help="The cohort it belongs to.")]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Join = Annotated[
    Path | None, typer.Option("--join", metavar="FILE", help="Write all that the device needs into this file.", show_default=False)
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--authority", metavar="FILE", help="With --join: who signed the cloud's certificate (PEM).", exists=True, show_default=False
    ),
]
Item = Annotated[str, typer.Argument(metavar="NAME", help="business/NAME, or model/NAME that was downloaded.", show_default=False)]
Role = Annotated[str, typer.Argument(metavar="viewer|operator|approver|admin", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many rows.")]
Bundle = Annotated[
    Path, typer.Argument(metavar="FILE.ace", help="A bundle of `ace pack`.", exists=True, dir_okay=False, show_default=False)
]


@fleet.command("list")
def listed(cloud: Cloud = ADDRESS) -> None:
    """List devices."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask
    from flow.cli.table import show

    with failures():
        rows = ask(cloud, "GET", "/v1/devices")
        show(
            "Devices",
            ("device", "cohort", "state", "revision", "key"),
            [[row["name"], row["cohort"], row["state"], str(row["revision"]), row["id"][:12]] for row in rows],
        )


@fleet.command()
def items(cloud: Cloud = ADDRESS) -> None:
    """List models and businesses, and who uses whom."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask
    from flow.cli.table import show

    with failures():
        rows = [
            [
                f"{row['kind']}/{row['name']}@{row['version']}",
                "yes" if row["signed"] else "no",
                f"{row['bytes'] / 2**20:.1f}",
                ", ".join(row["uses"].values() or row["used_by"]),
            ]
            for row in ask(cloud, "GET", "/v1/items")
        ]
        show("Items", ("item", "signed", "MB", "uses, or is used by"), rows)


@fleet.command()
def invite(name: Name, cohort: Cohort = "default", join: Join = None, authority: Authority = None, cloud: Cloud = ADDRESS) -> None:
    """Make a one-time token with which a device of this name may ask to be let in."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        told = ask(cloud, "POST", "/v1/invitations", {"name": name, "cohort": cohort})
        if join is not None:
            from manifests.sync.agent.membership import Membership, reachable, write

            endpoint = reachable(told["endpoint"], cloud)
            trusted = authority.read_text() if authority is not None else ""
            member = Membership(
                endpoint=endpoint, key=told["server_key"], http=cloud, root=told["root"], token=told["token"], authority=trusted
            )
            write(join, member)
            print(f"{join}: for `ace agent --join {join.name}` on {name}; it holds a token that works once")
            return
        print(f"token, shown this once: {told['token']}\ncloud: {told['endpoint']}  key {told['server_key']}")


@fleet.command()
def approve(device: Device, cloud: Cloud = ADDRESS) -> None:
    """Let a device in that has enrolled."""
    _say(cloud, "POST", f"/v1/devices/{device}/approve")


@fleet.command()
def revoke(device: Device, cloud: Cloud = ADDRESS) -> None:
    """Shut a device out, at once and for good."""
    _say(cloud, "POST", f"/v1/devices/{device}/revoke")


@fleet.command()
def remove(device: Device, item: Item, cloud: Cloud = ADDRESS) -> None:
    """Have a device run a business no longer, or not keep what was only downloaded."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask, changed

    with failures():
        changed(ask(cloud, "POST", "/v1/remove", {"device": device, "items": [item]}))


@fleet.command()
def upload(bundle: Bundle, cloud: Cloud = ADDRESS) -> None:
    """Give the cloud the models and businesses of a bundle."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        for item in ask(cloud, "PUT", "/v1/bundles", file=bundle):
            print(f"{item['kind']}/{item['name']}@{item['version']}  {item['digest'][:12]}")


@fleet.command()
def person(name: Name, role: Role, cloud: Cloud = ADDRESS) -> None:
    """Give a person a token."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        print(f"token, shown this once: {ask(cloud, 'POST', '/v1/people', {'name': name, 'role': role})['token']}")


@fleet.command()
def dismiss(name: Name, cloud: Cloud = ADDRESS) -> None:
    """End a person's token, at once and for good."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        told = ask(cloud, "POST", f"/v1/people/{name}/revoke")
        print(f"{told['person']}: {told['state']}")


@fleet.command()
def history(device: Device, limit: Limit = 30, cloud: Cloud = ADDRESS) -> None:
    """Show what became of each revision on a device, the newest first."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask
    from flow.cli.table import show

    with failures():
        steps = ask(cloud, "GET", f"/v1/devices/{device}/history?limit={limit}")
        rows = [[_when(step["at"]), str(step["revision"]), step["outcome"], step["state"], step["detail"]] for step in steps]
        show("History", ("when", "revision", "outcome", "state", "why"), rows)


@fleet.command()
def resets(cloud: Cloud = ADDRESS) -> None:
    """List resets that wait for a second person (`ace reset --agree NUMBER`)."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask
    from flow.cli.table import show

    with failures():
        rows = [
            [str(row["id"]), row["by"], _when(row["expires"]), ", ".join(row["devices"]), row["reason"]]
            for row in ask(cloud, "GET", "/v1/resets")
        ]
        show("Resets", ("number", "asked for by", "until", "devices", "reason"), rows)


@fleet.command()
def audit(limit: Limit = 30, cloud: Cloud = ADDRESS) -> None:
    """Show who did what, the newest first, and whether the log is whole."""
    from json import dumps

    from flow.cli.failure import failures
    from flow.cli.remote import CloudRefusal, ask
    from flow.cli.table import show

    with failures():
        told = ask(cloud, "GET", f"/v1/audit?limit={limit}")
        rows = [
            [str(row["id"]), _when(row["at"]), row["person"], row["action"], row["target"], dumps(row["detail"])] for row in told["entries"]
        ]
        show("Audit log", ("row", "when", "who", "did", "to", "with"), rows)
        if told["first_broken"] is not None:
            raise CloudRefusal(f"row {told['first_broken']} is not what was written, or is missing: somebody has changed the log")


def _when(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _say(cloud: str, method: str, path: str) -> None:
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        told = ask(cloud, method, path)
        print(f"{told['device']}: {told['state']}")
