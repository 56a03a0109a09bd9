"""Trusted time: what signed messages said, advanced by a clock that only goes forward. The system's clock is never asked."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable

BUILT = float(calendar.timegm((2026, 11, 1, 0, 0, 0)))
"""When this software was released: no earlier time is believed."""

BELIEVED = 400 * 86_400.0
"""How far ahead a signed message may be: one that a careless signer dated a century from now must not end every certificate."""


class TrustedClock:
    """Seconds since 1970 in UTC: the later of BUILT and the last time that was signed or remembered, plus what has passed since.

    While a device is off, this clock stands still; so it may be late, never early, and what expired for it has expired.
    """

    def __init__(self, remembered: float = 0.0, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._base, self._at = max(BUILT, remembered), monotonic()

    def now(self) -> float:
        """The time."""
        return self._base + max(0.0, self._monotonic() - self._at)

    def signed(self, when: float) -> None:
        """A message whose signature was verified says that it is at least this late."""
        now = self.now()
        if now < when <= now + BELIEVED:
            self._base, self._at = when, self._monotonic()

    def remembered(self, when: float) -> None:
        """What this device wrote down before it was restarted."""
        if when > self.now():
            self._base, self._at = when, self._monotonic()
