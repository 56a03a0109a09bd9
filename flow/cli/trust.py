from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flow.cli.remote import ADDRESS, Cloud

if TYPE_CHECKING:
    from datetime import datetime

    from manifests.sync.desired import Item
    from manifests.trust.targets import Terms

trust = typer.Typer(no_args_is_help=True, help="Say offline what devices may run.", rich_markup_mode=None)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The repository.", show_default=False)]
Bundles = Annotated[list[Path], typer.Argument(metavar="FILE.ace…", exists=True, dir_okay=False, show_default=False)]
Items = Annotated[
    list[str], typer.Argument(metavar="NAME@VERSION…", help="model/NAME@VERSION or business/NAME@VERSION.", show_default=False)
]
For = Annotated[
    list[str] | None, typer.Option("--device", metavar="KEY", help="Whom device documents in the bundle are for.", show_default=False)
]
Least = Annotated[
    float, typer.Option("--least-probation", metavar="SECONDS", min=0, max=86_400, help="How long each must prove itself at least.")
]
RootKeys = Annotated[int, typer.Option("--root-keys", metavar="N", min=1, max=16, help="How many root keys to make.")]
Updates = Annotated[bool, typer.Option("--updates", help="The key of update files instead.")]
Online = Annotated[bool, typer.Option("--online", help="With new online keys for snapshot and timestamp, after these were stolen.")]
Threshold = Annotated[int, typer.Option("--threshold", metavar="M", min=1, max=16, help="How many of them must sign.")]


@trust.command()
def init(folder: Folder, root_keys: RootKeys = 1, threshold: Threshold = 1) -> None:
    """Make all keys and an empty repository. ACE_TRUST_PASSPHRASE locks the offline keys."""
    from flow.cli.failure import failures

    with failures():
        from manifests.trust.repository import Repository

        made = Repository.create(folder, _now(), root_keys=root_keys, threshold=threshold)
        print(f"offline keys: {folder / 'offline'}  (move them off the network)")
        print(f"online keys:  {folder / 'online'}  (for the cloud)")
        print(f"first root:   {made.metadata / '1.root.json'}  (every device must come with it)")


@trust.command()
def add(folder: Folder, bundles: Bundles, device: For = None, least_probation: Least = 5.0) -> None:
    """Sign everything in these bundles. What has a golden clip must be replayed on it before it is activated."""
    from flow.cli.failure import failures

    with failures():
        from manifests.bundle.bundle import opened
        from manifests.trust.contents import signable
        from manifests.trust.repository import Repository

        items: dict[Item, tuple[bytes, Terms]] = {}
        for path in bundles:
            with opened(path) as bundle:
                items |= signable(bundle, tuple(device or ()), probation_s=least_probation)
        version = Repository(folder).add(items, _now())
        print("\n".join(f"signed {item.selector}" for item in items))
        print(f"targets {version}")


@trust.command()
def withdraw(folder: Folder, items: Items) -> None:
    """Sign that devices must not accept these any more."""
    from flow.cli.failure import failures

    with failures():
        from manifests.trust.repository import Repository

        print(f"targets {Repository(folder).withdraw(items, _now())}")


@trust.command()
def rotate(folder: Folder, updates: Updates = False) -> None:
    """Replace the online key for desired states, after it was stolen; or the offline key for update files."""
    from flow.cli.failure import failures

    with failures():
        from manifests.trust.envelope import OFFLINE, ONLINE
        from manifests.trust.repository import Repository

        version = Repository(folder).replace_key(OFFLINE if updates else ONLINE, _now())
        then = "files signed from now on carry them" if updates else "give the cloud online/desired.pem, and start it again"
        print(f"targets {version}; {then}")


@trust.command()
def renew(folder: Folder, online: Online = False) -> None:
    """Sign the next root, good for another year: without it, devices take nothing new when the last one has expired."""
    from flow.cli.failure import failures

    with failures():
        from manifests.trust.repository import Repository

        version = Repository(folder).renew(_now(), replace_online=online)
        first = "first copy online/*.pem into online/next of its repository, then " if online else ""
        print(f"root {version}; where the cloud has another repository: {first}`ace trust publish {folder}`")


@trust.command()
def publish(folder: Folder, cloud: Cloud = ADDRESS) -> None:
    """Give the cloud the newest root and the newest signed targets, where it has older ones."""
    from flow.cli.failure import failures
    from flow.cli.remote import CloudRefusal, ask

    with failures():
        from manifests.trust.repository import Repository

        here, there = Repository(folder), ask(cloud, "GET", "/v1/trust")
        for role, version in here.versions().items():
            if version < there[role]:
                raise CloudRefusal(f"{folder}: expected {role} {there[role]} or newer, which the cloud has, got {role} {version}")
        if roots := here.roots_after(there["root"]):
            told = ask(cloud, "POST", "/v1/trust/roots", {"roots": [each.decode() for each in roots]})
            print(f"published root {told['version']}")
        if here.versions()["targets"] > there["targets"]:
            print(f"published targets {ask(cloud, 'PUT', '/v1/trust/targets', file=here.newest_targets())['version']}")
        elif not roots:
            print(f"the cloud has root {there['root']} and targets {there['targets']} already")


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)
