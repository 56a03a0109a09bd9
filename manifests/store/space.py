"""Space is reserved before anything is fetched: an update that does not fit is refused with both numbers, and fills no disk."""

from __future__ import annotations

from collections.abc import Mapping

from manifests.store.store import Store

HEADROOM = 16 << 20
"""Left for the database, its log, manifests of releases, and everything else on the disk."""


class NoSpace(Exception):
    """The disk does not hold it: what is needed, what is free."""


def reserve(store: Store, missing: Mapping[str, int], *, headroom: int = HEADROOM) -> None:
    """Takes the space of every blob that is missing (digest: size). Raises NoSpace, OSError."""
    needed = sum(size - store.blobs.partial_size(sha256) for sha256, size in missing.items())
    wanted = needed + headroom
    if wanted > (free := store.free()):
        raise NoSpace(
            f"expected {wanted} bytes free on the disk of {store.root} ({needed} to fetch), got {free}; free some, or update less"
        )
    for sha256, size in sorted(missing.items()):
        store.blobs.begin(sha256, size)
