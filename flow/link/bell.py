"""How workers wake each other: an eventfd each, and one shared word each that says what its owner sleeps for.

Whoever publishes something looks at the word of whom it concerns, and rings only where somebody sleeps for it. Whoever goes to sleep
writes the word first and then looks once more: of the two at least one sees the other, so no wake-up is lost.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum

import numpy as np

from devices import kernels
from devices.kernels import links


class Rest(IntEnum):
    """What a worker sleeps for."""

    AWAKE = 0
    FOR_ENTRIES = 1
    FOR_ROOM = links.FOR_ROOM
    """Also for what its consumers finish with."""


class LiveBell:
    """A bell's descriptors, which the executor keeps through all lives of its worker."""

    def __init__(self, name: str) -> None:
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.word = os.memfd_create(f"ace-bell-{name}", os.MFD_CLOEXEC)
        os.ftruncate(self.word, mmap.PAGESIZE)
        os.pwrite(self.word, int(Rest.FOR_ROOM).to_bytes(8, "little"), 0)
        self.word_read_only = os.open(f"/proc/self/fd/{self.word}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        for fd in (self.bell, self.word, self.word_read_only):
            os.close(fd)


class Bell:
    """A worker's bell, its own or another's; takes over the descriptors. Nobody reads the eventfd: EPOLLET tells of every ring."""

    def __init__(self, bell: int, word: int, *, own: bool) -> None:
        self.fd = bell
        self._map = mmap.mmap(word, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if own else 0))
        os.close(word)
        self.word: int = np.frombuffer(self._map, np.int64).ctypes.data
        self._publish = kernels.functions()["ace_publish"]

    def rest(self, until: Rest) -> None:
        """Own bell: from now on others ring. The caller looks once more at what it waits for before it sleeps."""
        self._publish(self.word, until, self.word)

    def rise(self) -> None:
        """Own bell: no more ringing."""
        self._publish(self.word, 0, self.word)

    def ring(self) -> None:
        """Another's bell."""
        os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        os.close(self.fd)
