"""The device's copy of the signed metadata, kept current.

It is brought up to date when something new comes, and by itself now and then: a cloud, or whoever stands before it, that holds back what
is new is noticed when what is known expires. What has expired stops new installs, never what runs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from manifests.store.store import Store
from manifests.sync.reported import SignedMetadata
from manifests.sync.trust import Untrusted
from manifests.trust.store import Fetch, TrustStore

EVERY_S, JITTER = 6 * 3600.0, 0.3
"""Between two refreshes, and the share by which that varies, so that a fleet does not ask with one voice."""
AGAIN_S = 300.0
"""After one that did not come about."""


class KeptMetadata:
    """What the device knows of what is signed. `cloud`: gets files of its cloud; None where it has none. `now`: trusted time."""

    def __init__(self, trust: TrustStore, store: Store, now: Callable[[], float], cloud: Fetch | None) -> None:
        self.trust, self._store, self._now, self._cloud = trust, store, now, cloud
        self._due = time.monotonic() + random.uniform(0.0, AGAIN_S)
        self._refusal = ""
        self._figures: SignedMetadata | None = None
        self._look()

    @property
    def known(self) -> bool:
        """Whether there is anything to judge a desired state by."""
        return self._figures is not None

    def take(self, fetch: Fetch) -> None:
        """Takes newer metadata from wherever they come; what was known stays known. Raises Untrusted, OSError."""
        try:
            self.trust.refresh(fetch, datetime.fromtimestamp(self._now(), UTC))
        finally:
            self._look()

    def refresh(self) -> None:
        """Takes the cloud's. Raises Untrusted, OSError, sqlite3.Error."""
        assert self._cloud is not None
        self._due = time.monotonic() + AGAIN_S * random.uniform(1 - JITTER, 1 + JITTER)
        try:
            self.take(self._cloud)
        except Untrusted as error:
            self._refusal = str(error)
            raise
        self._due = time.monotonic() + EVERY_S * random.uniform(1 - JITTER, 1 + JITTER)
        self._refusal = ""
        with self._store.transaction():
            self._store.state("metadata", self._now())
        self._look()

    def due(self) -> bool:
        """Whether it is time for a refresh."""
        return self._cloud is not None and time.monotonic() >= self._due

    def figures(self) -> SignedMetadata | None:
        """For the inventory; None where nothing is known."""
        return self._figures

    def problem(self) -> str:
        """What is wrong with them; empty where nothing is."""
        if self._refusal:
            return self._refusal
        now = datetime.fromtimestamp(self._now(), UTC)
        if self._figures is not None and self._figures.expires <= now:
            expired = f"{self._figures.expires:%Y-%m-%d %H:%M} UTC"
            return f"the signed metadata expired at {expired}: nothing new is installed until newer ones come"
        return ""

    def _look(self) -> None:
        try:
            view = self.trust.view()
        except Untrusted:
            self._figures = None
            return
        checked = self._store.fact("metadata")
        self._figures = SignedMetadata(
            targets=view.targets.version,
            expires=min(view.expires.values()),
            checked=None if checked is None else datetime.fromtimestamp(float(checked), UTC).replace(microsecond=0),
        )
