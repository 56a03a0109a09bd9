"""What a device says of itself, from its store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from manifests.bundle.canonical import BundleError
from manifests.store.generations import items_of
from manifests.store.store import Store
from manifests.sync.desired import Item
from manifests.sync.reported import Reported, SignedMetadata
from manifests.sync.states import AFTER_SWAP, load

COARSE = 64 << 20
"""Figures of memory and disk are rounded down to this: what changes all the time would be reported all the time."""
AGAIN_S = 600.0
MOST_PROBLEM = 1024


class Describer:
    """Keeps the last description, and makes it anew when something has changed or its figures are old.

    `about`: what does not change; `free_memory` gives bytes.
    """

    def __init__(self, store: Store, about: dict[str, Any], free_memory: Callable[[], int], now: Callable[[], float]) -> None:
        self._store, self._about, self._free, self._now = store, about, free_memory, now
        self._of: object = None
        self._at = 0.0
        self._made = Reported()

    def reported(self, problems: Sequence[str] = (), metadata: SignedMetadata | None = None) -> Reported:
        """The description as of now. `problems`: what is wrong just now, and what is waited for. Raises OSError, sqlite3.Error."""
        store = self._store
        state = load(store).state
        roles = store.database.rows("SELECT name, generation FROM role ORDER BY name")
        blobs = store.database.value("SELECT count(*) FROM blob")
        of = (roles, blobs, state, store.fact("hold"), store.fact("reset_epoch"), store.fact("floor"), *problems, metadata)
        if of != self._of or self._now() - self._at > AGAIN_S:
            self._made = self._make(problems, metadata)
            self._of, self._at = of, self._now()
        return self._made

    def _make(self, problems: Sequence[str], metadata: SignedMetadata | None) -> Reported:
        store = self._store
        active = store.generations.role("active")
        assert active is not None, "generation 0 is always there"
        settled = active
        if load(store).state in AFTER_SWAP:
            settled = store.generations.role("previous") or active
        revision = int(store.fact("floor", 0)) if store.fact("hold") else settled.desired.revision
        return Reported(
            revision=revision,
            reset_epoch=int(store.fact("reset_epoch", 0)),
            hold=bool(store.fact("hold")),
            active=active.desired.active,
            document=active.desired.document if active.desired.document != self._factory() else None,
            stored=tuple(dict.fromkeys(self._stored()))[:1024],
            ram_bytes=self._free() // COARSE * COARSE,
            disk_bytes=store.free() // COARSE * COARSE,
            about=self._about,
            metadata=metadata,
            problems=tuple(problem[:MOST_PROBLEM] for problem in problems),
        )

    def _factory(self) -> Item | None:
        factory = self._store.generations.role("factory")
        return None if factory is None else factory.desired.document

    def _stored(self) -> Iterator[Item]:
        """Every item of which every byte is here."""
        store = self._store
        for generation in store.generations.rooted():
            for item in items_of(generation.desired):
                try:
                    document = store.generations.document(item)
                except (BundleError, OSError):
                    continue
                if all(store.blobs.has(blob.sha256) for blob in document.blobs):
                    yield item
