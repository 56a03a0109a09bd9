"""What the thread that talks to the cloud sees of the device: the store belongs to another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from manifests.sync.outbox import Report
from manifests.sync.reported import Reported


class Mirror:
    """The reports that wait, the newest revision and the description, as of the last `update`. Orders go the other way by callbacks.

    `offered` and `acknowledged` hand over to the store's thread and return at once.
    """

    def __init__(self, offered: Callable[[bytes], None], acknowledged: Callable[[int], None]) -> None:
        self._offered, self._acknowledged = offered, acknowledged
        self._lock = threading.Lock()
        self._rows: tuple[Report, ...] = ()
        self._safe = 0
        self._revision = 0
        self._reported = Reported()

    def update(self, rows: Sequence[Report], revision: int, reported: Reported) -> bool:
        """By the store's thread; whether anything is new."""
        with self._lock:
            new = tuple(row for row in rows if row.seq > self._safe)
            changed = (new, revision, reported.digest) != (self._rows, self._revision, self._reported.digest)
            self._rows, self._revision, self._reported = new, revision, reported
            return changed

    # ---- by the thread that talks

    def waiting(self, limit: int) -> Sequence[Report]:
        """The oldest reports that nobody has acknowledged."""
        with self._lock:
            return self._rows[:limit]

    def acknowledge(self, number: int) -> None:
        """The cloud has all up to this one."""
        with self._lock:
            self._safe = max(self._safe, number)
            self._rows = tuple(row for row in self._rows if row.seq > number)
        self._acknowledged(number)

    def revision(self) -> int:
        """The newest desired revision that the device holds."""
        return self._revision

    def reported(self) -> Reported:
        """How the device is."""
        return self._reported

    def offer(self, document: bytes) -> None:
        """A signed desired state."""
        self._offered(document)
