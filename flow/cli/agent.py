from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flow.cli.options import Bind, Link, Out, Workers

if TYPE_CHECKING:
    from manifests.sync.agent.agent import Settings
    from manifests.sync.agent.membership import Membership

Store = Annotated[Path, typer.Option("--store", metavar="DIR", help="Where the device keeps everything: models, state, keys.")]
DeviceFile = Annotated[
    Path | None,
    typer.Option(
        "--device",
        metavar="FILE",
        help="The Device manifest: its sources, the names of their credentials, and which business reads what (default: the factory's).",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Factory = Annotated[
    Path | None,
    typer.Option(
        "--factory",
        metavar="FILE.ace",
        help="A new store's generation 0: what the device runs at first, and after a reset.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Join = Annotated[
    Path | None,
    typer.Option("--join", metavar="FILE", help="The file of `ace fleet invite`, once; the store remembers its cloud.", show_default=False),
]
Cloud = Annotated[
    str,
    typer.Option("--cloud", metavar="tcp://HOST:PORT", help="Another address of the cloud that the device belongs to.", show_default=False),
]
Token = Annotated[
    str,
    typer.Option(
        "--token", metavar="TOKEN", envvar="ACE_ENROLMENT", help="A one-time token, where the joining file has none.", show_default=False
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FILE",
        help="The first root of trust (`1.root.json` of `ace trust init`), for signed files where there is no cloud.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Offline = Annotated[
    Path | None,
    typer.Option(
        "--offline",
        metavar="FILE.ace",
        help="Take this signed file. Those in the folder `inbox` of the store are taken at any time.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]


def agent(
    store: Store = Path("/var/lib/ace"),
    device: DeviceFile = None,
    factory: Factory = None,
    join: Join = None,
    cloud: Cloud = "",
    token: Token = "",
    root: Root = None,
    offline: Offline = None,
    bind: Bind = None,
    out: Out = None,
    workers: Workers = "auto",
    link: Link = "auto",
) -> None:
    """Run this device as the cloud, or a signed file, wants it.

    The engine is a process of its own, which goes on where the agent dies. Results are written where --out says, and else only counted.
    SIGTERM lets the frames in flight come out, and ends both.
    """
    import signal

    from flow.cli.failure import failures

    with failures():
        from manifests.sync.agent.agent import Agent

        put_factory(store, factory)
        engine = [sys.executable, "-m", "flow.switch", "--workers", workers, "--link", link]
        engine += [f"--bind={each}" for each in bind or ()] + [f"--out={each}" for each in out or ()]
        made = Agent(settings(store, engine, membership(store, join, cloud, token), device, root, offline), say)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: made.stop())
        say(f"device {made.keys.name}")
        made.run()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # what is asked for once more has been done


def put_factory(store: Path, factory: Path | None) -> None:
    """Makes the factory file of a new store; one that has the same already is left alone. Raises StoreError, BundleError, OSError."""
    if factory is None:
        return
    from manifests.bundle.bundle import opened
    from manifests.store.store import FACTORY_FILE, StoreError, install_factory

    if not (store / FACTORY_FILE).exists():
        install_factory(store, factory)
        return
    with opened(factory) as given, opened(store / FACTORY_FILE) as there:
        if given.identity != there.identity:
            raise StoreError(
                f"{factory}: expected the file that {store} was made with, {there.identity[:12]}, got {given.identity[:12]}; "
                "leave --factory out, or begin another store"
            )


def membership(store: Path, join: Path | None, cloud: str, token: str) -> Membership | None:
    """Which cloud the device belongs to. Raises MembershipError, OSError."""
    from manifests.sync.agent.membership import Membership, MembershipError, joined

    member = joined(store, join)
    if member is None and (cloud or token):
        raise MembershipError(
            "expected --join FILE, of `ace fleet invite NAME --join FILE`, for a device that belongs to no cloud yet, got none"
        )
    update = {name: value for name, value in (("endpoint", cloud), ("token", token)) if value}
    return member and Membership.model_validate(member.model_dump() | update)


def settings(
    store: Path, engine: list[str], member: Membership | None, device: Path | None, root: Path | None, offline: Path | None
) -> Settings:
    """Everything that the agent is given. Raises MembershipError, OSError."""
    import os
    import platform
    from importlib.metadata import version

    from devices.cpu import available_memory
    from manifests.sync.agent.agent import Settings

    about = {"machine": platform.machine(), "cores": os.cpu_count() or 1, "system": platform.system(), "ace": version("ace-engine")}
    return Settings(
        store=store, engine=engine, member=member, device_file=None if device is None else device.absolute(),
        root=first_root(root, member), offline=offline, about=about, free_memory=available_memory,
    )  # fmt: skip


def first_root(given: Path | None, member: Membership | None) -> bytes:
    """The first root metadata of the device. Raises MembershipError, OSError."""
    from manifests.sync.agent.membership import MembershipError
    from manifests.trust.store import check_root

    if given is None:
        return b"" if member is None else member.root.encode()
    data = given.read_bytes()
    if member is not None and member.root.encode() != data:
        raise MembershipError(f"{given}: expected the root of the device's cloud, got another one; leave --root out")
    if why := check_root(data):
        raise MembershipError(f"{given}: expected root metadata (1.root.json of `ace trust init`), got: {why}")
    return data


def say(message: str) -> None:
    """A line on standard error, as long as there is somebody to read it."""
    from contextlib import suppress

    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
