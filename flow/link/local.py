"""The `local` carrier: two workers that are threads of one process meet in memory, with an eventfd as doorbell."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque


class _Meeting:
    """Both directions of one link."""

    def __init__(self) -> None:
        self.entries: deque[tuple[int, memoryview]] = deque()
        self.acks: deque[tuple[int, int]] = deque()
        self.entry_bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ack_bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ends = 0


_meetings: dict[str, _Meeting] = {}
_lock = threading.Lock()


def _join(address: str) -> _Meeting:
    with _lock:
        if address not in _meetings:
            _meetings[address] = _Meeting()
        meeting = _meetings[address]
        meeting.ends += 1
        return meeting


def _leave(address: str, meeting: _Meeting) -> None:
    with _lock:
        meeting.ends -= 1
        if meeting.ends == 0:
            del _meetings[address]
            os.close(meeting.entry_bell)
            os.close(meeting.ack_bell)


def _silence(bell: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(bell)


class LocalSender:
    """The producer's end; what is in the receiver's queue is durable."""

    def __init__(self, address: str) -> None:
        self._address, self._meeting = address, _join(address)
        self.durable = 0
        self.done = 0

    def send(self, index: int, data: bytes) -> None:
        self._meeting.entries.append((index, memoryview(data)))
        self.durable = index + 1
        os.eventfd_write(self._meeting.entry_bell, 1)

    def poll(self) -> bool:
        _silence(self._meeting.ack_bell)
        changed = False
        while self._meeting.acks:
            _, done = self._meeting.acks.popleft()
            self.done, changed = max(self.done, done), True
        return changed

    @property
    def waitable(self) -> object:
        return self._meeting.ack_bell

    def close(self) -> None:
        _leave(self._address, self._meeting)


class LocalReceiver:
    """The consumer's end."""

    def __init__(self, address: str) -> None:
        self._address, self._meeting = address, _join(address)

    def receive(self) -> tuple[int, memoryview] | None:
        _silence(self._meeting.entry_bell)
        return self._meeting.entries.popleft() if self._meeting.entries else None

    def acknowledge(self, received: int, done: int) -> None:
        self._meeting.acks.append((received, done))
        os.eventfd_write(self._meeting.ack_bell, 1)

    @property
    def waitable(self) -> object:
        return self._meeting.entry_bell

    def close(self) -> None:
        _leave(self._address, self._meeting)
