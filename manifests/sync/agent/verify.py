"""Whose word a device takes: within what the signed targets allow, its cloud's, and that of the offline key for update files."""

from __future__ import annotations

from manifests.store.generations import items_of
from manifests.store.store import Store
from manifests.sync.trust import Untrusted, Verified
from manifests.trust.policy import Held, pair_of


class NoRoot:
    """Verifies for a device that was given no root of trust: nothing is believed."""

    def verify(self, envelope: bytes, *, now: float) -> Verified:
        """Raises Untrusted."""
        raise Untrusted("root", "expected a device with a root of trust, got one without: give the agent --root FILE, or --join FILE")


def held(store: Store, device: str) -> Held:
    """What the device holds, for desired states to be judged against."""
    active, factory = store.generations.role("active"), store.generations.role("factory")
    return Held(
        device,
        int(store.fact("floor", 0)),
        int(store.fact("reset_epoch", 0)),
        frozenset() if active is None else frozenset(item.digest for item in items_of(active.desired)),
        frozenset() if factory is None else frozenset(item.digest for item in items_of(factory.desired)),
        () if active is None else tuple(pair_of(business) for business in active.desired.active if business.enabled),
    )
