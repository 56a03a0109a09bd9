"""Mark and sweep: what no generation with a role needs, and no lease holds, goes. Nothing is counted, so no count can be wrong."""

from __future__ import annotations

import os
from pathlib import Path

from manifests.store.store import Store


def collect(store: Store, keep: frozenset[str] = frozenset()) -> int:
    """Removes every blob and release that is not needed; `keep` are digests of an update under way. Returns how many blobs went.

    Raises BundleError, where an item that is needed cannot be read: then nothing is removed. Raises OSError.
    """
    with store.transaction():
        store.generations.forget()
    marked = set(keep) | store.leases
    for generation in store.generations.rooted():
        marked |= store.generations.needs(generation.desired)
    known = {row[0] for row in store.database.rows("SELECT sha256 FROM blob")}
    gone = sorted(known - marked)
    store.blobs.forget(gone)
    for folder in store.blobs.folder.iterdir():
        for path in folder.iterdir():
            if path.name not in known:
                store.blobs.remove(path)
    for (sha256,) in store.database.rows("SELECT sha256 FROM partial"):
        if sha256 not in marked:
            store.blobs.discard(sha256)
    return len(gone)


def sweep_releases(store: Store, keep: frozenset[str]) -> None:
    """Removes the folders of releases whose digests are not among these. Raises OSError."""
    for folder in (store.root / "releases").iterdir():
        if folder.name not in keep:
            _remove(store, folder)


def _remove(store: Store, folder: Path) -> None:
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            store.effects.unlink(Path(place, name))
        for name in folders:
            store.effects.rmdir(Path(place, name))
    store.effects.rmdir(folder)
