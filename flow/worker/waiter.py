"""One wait for everything that may wake a worker: its bell, its channel, ZeroMQ sockets, sources with a descriptor of their own."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import zmq

READABLE = int(zmq.POLLIN)
WAIT_MS = 100
LOOK_NS = 50_000
"""About what it costs two processes that one wakes the other."""


class Patience:
    """Whether to look for a moment before going to sleep: after a sleep that was no longer than that."""

    def __init__(self) -> None:
        self.short = False

    def looks(self, stirs: Callable[[], bool]) -> bool:
        """Looks for a moment, which is others' if they wait for this processor; whether something came."""
        end = monotonic_ns() + LOOK_NS
        while not stirs():
            if monotonic_ns() > end:
                return False
            os.sched_yield()
        return True

    def slept(self, ns: int) -> None:
        """So long it took until something came."""
        self.short = ns < LOOK_NS


class Waiter:
    """Descriptors and sockets, by what they are."""

    def __init__(self, bell: int) -> None:
        self._epoll = select.epoll()
        self.number = self._epoll.fileno()
        """What is waited on, for those who wait natively."""
        self._epoll.register(bell, select.EPOLLIN | select.EPOLLET)
        self.bell_alone = [(bell, int(select.EPOLLIN))]
        """What `wait` gives when only the bell has rung."""
        self._silent = {bell}
        """Descriptors that say nothing of sockets."""
        self._sockets: dict[int, zmq.Socket[Any]] = {}
        self.unsure = True
        """Whether a socket may have messages that its descriptor does not tell of: it tells of changes, and sending may take them in."""

    def add(self, what: Any) -> None:
        """A descriptor, something that has one, or a ZeroMQ socket."""
        if isinstance(what, zmq.Socket):
            number = int(what.getsockopt(zmq.FD))
            self._sockets[number] = what
            self._epoll.register(number, select.EPOLLIN)
            self.unsure = True
        else:
            self._epoll.register(what, select.EPOLLIN)

    def add_silent(self, number: int) -> None:
        """A descriptor that is rung often, and for nothing else."""
        self._epoll.register(number, select.EPOLLIN)
        self._silent.add(number)

    def remove(self, what: Any) -> None:
        """Waits for it no more; while it is still open."""
        number = what
        if isinstance(what, zmq.Socket):
            number = int(what.getsockopt(zmq.FD))
            del self._sockets[number]
        self._epoll.unregister(number)

    def wait(self, timeout_ms: float) -> list[tuple[int, int]]:
        """(descriptor, events) of what is ready, a ZeroMQ socket by its own descriptor; nothing after the timeout."""
        if self.unsure:
            for number, socket in self._sockets.items():
                if int(socket.getsockopt(zmq.EVENTS)) & READABLE:
                    return [(number, select.EPOLLIN), *self._epoll.poll(0)]
            self.unsure = False
        events = self._epoll.poll(timeout_ms / 1000)
        if events != self.bell_alone:
            self.unsure = any(number not in self._silent for number, _ in events) or not events
        return events

    def close(self) -> None:
        self._epoll.close()
