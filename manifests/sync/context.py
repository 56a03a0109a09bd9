"""What the steps of an update work with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from manifests.bundle.items import MANIFEST, ItemDocument
from manifests.schema.business import Business
from manifests.store.generations import Generation, items_of
from manifests.store.release import known_manifest, release
from manifests.store.store import Store
from manifests.sync.clock import TrustedClock
from manifests.sync.desired import Desired
from manifests.sync.fetch import Fetcher
from manifests.sync.health import Goals, Limits
from manifests.sync.runtime import Release, Runtime
from manifests.sync.trust import Verifier


@dataclass(slots=True)
class Context:
    """The parts of a device's agent. `gate` says why now is no good moment to switch, empty where it is one; it is given what runs."""

    store: Store
    runtime: Runtime
    fetcher: Fetcher
    verifier: Verifier
    clock: TrustedClock
    device: str
    device_file: Path | None = None
    gate: Callable[[Desired], str] = lambda _: ""
    limits: Limits = field(default_factory=Limits)
    stream: tuple[str, Iterator[bytes]] | None = None
    """The blob that is coming in, and the rest of it."""
    held: bytearray = field(default_factory=bytearray)
    """What has come in and is not written yet."""

    def release(self, generation: Generation, order: int) -> Release:
        """What the engine is given. Raises Mismatch, BundleError, OSError."""
        return release(self.store, generation.desired, self.device_file, revision=order)

    def active(self) -> Generation:
        """What is to run now."""
        generation = self.store.generations.role("active") or self.store.generations.role("factory")
        assert generation is not None, "generation 0 is always there"
        return generation

    def documents(self, desired: Desired) -> list[ItemDocument]:
        """The documents of all its items. Raises BundleError, OSError."""
        return [self.store.generations.document(item) for item in items_of(desired)]

    def goals(self, desired: Desired) -> dict[str, Goals]:
        """By `business.output`. Raises BundleError, OSError."""
        found: dict[str, Goals] = {}
        for each in desired.active:
            document = self.store.generations.document(each.business)
            manifest = known_manifest(self.store.blobs.read(document.files[MANIFEST].sha256), each.business.selector)
            if isinstance(manifest, Business):
                goals = Goals(manifest.goals.rate, manifest.goals.latency_ms)
                found |= {f"{manifest.name}.{output}": goals for output in manifest.outputs}
        return found

    def windows(self) -> dict[str, list[dict[str, int]]]:
        """What each output has found on this device so far."""
        found: dict[str, list[dict[str, int]]] = {}
        for output, counts in self.store.database.rows("SELECT output, counts FROM baseline ORDER BY place"):
            found.setdefault(output, []).append(json.loads(counts))
        return found

    def next_order(self) -> int:
        """A number that the engine has not heard yet. Stands inside a transaction."""
        order = int(self.store.fact("order", 0)) + 1
        self.store.state("order", order)
        return order

    def drop_stream(self) -> None:
        """Nothing is coming in any more."""
        self.stream = None
        self.held.clear()
