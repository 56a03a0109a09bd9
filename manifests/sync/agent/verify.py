"""Whose word a device takes: its cloud's, within what the signed targets allow, and that of the keys that sign files for it."""

from __future__ import annotations

from manifests.store.generations import items_of
from manifests.store.store import Store
from manifests.sync.offline import OfflineVerifier
from manifests.sync.trust import Untrusted, Verified, Verifier
from manifests.trust.policy import Held

FILE = b'{"format":'
"""How the canonical envelope of a signed file begins; that of the cloud does not."""


class Verifiers:
    """Verifies an envelope by its kind. `cloud`: None for a device that belongs to none."""

    def __init__(self, cloud: Verifier | None, files: OfflineVerifier) -> None:
        self._cloud, self._files = cloud, files

    def verify(self, envelope: bytes, *, now: float) -> Verified:
        """Raises Untrusted."""
        if envelope.startswith(FILE):
            return self._files.verify(envelope, now=now)
        if self._cloud is None:
            raise Untrusted("cloud", "expected a signed file, got a desired state of a cloud, and this device belongs to none")
        return self._cloud.verify(envelope, now=now)


def held(store: Store, device: str) -> Held:
    """What the device holds, for the cloud's desired states to be judged against."""
    active, factory = store.generations.role("active"), store.generations.role("factory")
    return Held(
        device,
        int(store.fact("floor", 0)),
        int(store.fact("reset_epoch", 0)),
        frozenset() if active is None else frozenset(item.digest for item in items_of(active.desired)),
        frozenset() if factory is None else frozenset(item.digest for item in items_of(factory.desired)),
    )
