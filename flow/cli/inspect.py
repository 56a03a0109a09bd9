from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from manifests.bundle.bundle import Bundle

File = Annotated[Path, typer.Argument(metavar="NAME.ace", help="A bundle, or a signed update file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def inspect(file: File, json: Json = False) -> None:
    """Check a bundle, byte for byte, and show what is in it.

    Whether a signature is one that a device trusts is not checked: that is the device's to say. Exit status 2 for a file that is broken.
    """
    from flow.cli.failure import failures

    with failures():
        from manifests.bundle.bundle import opened

        with opened(file) as bundle:
            described = describe(bundle)
    if json:
        import json as encoding

        print(encoding.dumps(described, indent=2))
    else:
        show(described)


def describe(bundle: Bundle) -> dict[str, Any]:
    """What is in the bundle."""
    names = {document.item.digest: document.item.selector for document in bundle.items.values()}
    return {
        "identity": bundle.identity,
        "items": [
            {
                "item": document.item.selector,
                "digest": document.item.digest,
                "bytes": sum(blob.size for blob in document.blobs),
                "files": {path: blob.size for path, blob in document.files.items()},
                **({"license": document.license} if document.license else {}),
            }
            for document in bundle.items.values()
        ],
        "locks": [
            {
                "business": names[lock.pair.business],
                "models": {alias: names[model] for alias, model in lock.pair.models.items()},
                "golden": lock.golden is not None,
                "cost": dict(lock.cost),
            }
            for lock in bundle.document.locks
        ],
        "update": update(bundle),
    }


def update(bundle: Bundle) -> dict[str, Any] | None:
    """What the signed desired state says, unverified; None where there is none."""
    from manifests.bundle.archive import UPDATE

    if UPDATE not in bundle.archive.entries:
        return None
    from manifests.sync.offline import update_in
    from manifests.trust.envelope import peek

    update = update_in(bundle)
    desired, keys = peek(update.desired.encode())
    return {"device": desired.device, "revision": desired.revision, "keys": keys, "metadata": sorted(update.metadata)}


def show(described: dict[str, Any]) -> None:
    """Prints it as tables."""
    from flow.cli import table

    print(f"sha256 {described['identity']}")
    rows = [(each["item"], each["digest"][:12], f"{each['bytes']:,}", each.get("license", "")) for each in described["items"]]
    table.show("Items", ("item", "digest", "bytes", "license"), rows)
    locks = [
        (
            each["business"],
            ", ".join(f"{alias}: {model}" for alias, model in each["models"].items()) or "-",
            "yes" if each["golden"] else "no",
            f"{sum(each['cost'].values()) / 1e6:.1f} MB" if each["cost"] else "-",
        )
        for each in described["locks"]
    ]
    if locks:
        print()
        table.show("Locked", ("business", "models", "golden clip", "memory"), locks)
    if signed := described["update"]:
        keys = ", ".join(key[:12] for key in signed["keys"])
        print(f"\nrevision {signed['revision']} for {signed['device']}, signed by {keys} (not checked)")
