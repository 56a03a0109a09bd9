"""Waking a thread that polls."""

from __future__ import annotations

import os
import threading


class Wake:
    """An eventfd that any thread may set, also after the thread that polls has closed it."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def set(self) -> None:
        """Makes the descriptor readable."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """By the thread that polls, when the descriptor is readable."""
        os.eventfd_read(self.descriptor)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.descriptor)
