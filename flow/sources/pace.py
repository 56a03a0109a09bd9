"""Waits of sources that are paced by the clock."""

from __future__ import annotations

import contextlib
import threading


class Pace:
    """Lets time pass for one thread until any other ends it. A wait is one call of the interpreter's: an Event's makes a lock each time."""

    def __init__(self) -> None:
        self.ended = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def wait(self, seconds: float) -> bool:
        """Waits so long; False once it is ended."""
        return not self.ended and not self._bell.acquire(timeout=max(0.0, seconds))

    def end(self) -> None:
        """Ends the wait under way, and every later one, at once; may be called more than once."""
        self.ended = True
        with contextlib.suppress(RuntimeError):
            self._bell.release()
