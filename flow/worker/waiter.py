"""One wait for everything that may wake a worker: its bell, its channel, ZeroMQ sockets, sources with a descriptor of their own."""

from __future__ import annotations

import select
from typing import Any

import zmq


class Waiter:
    """Descriptors and sockets, by what they are."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, zmq.Socket[Any]] = {}

    def add(self, what: Any) -> None:
        """A descriptor, something that has one, or a ZeroMQ socket."""
        if isinstance(what, zmq.Socket):
            number = int(what.getsockopt(zmq.FD))
            self._sockets[number] = what
            self._epoll.register(number, select.EPOLLIN)
        else:
            self._epoll.register(what, select.EPOLLIN)

    def remove(self, what: Any) -> None:
        """Waits for it no more; while it is still open."""
        number = what
        if isinstance(what, zmq.Socket):
            number = int(what.getsockopt(zmq.FD))
            del self._sockets[number]
        self._epoll.unregister(number)

    def wait(self, timeout_ms: int) -> list[int]:
        """Descriptors that are ready, a ZeroMQ socket by its own; none after the timeout.

        The descriptor of a ZeroMQ socket tells only of changes: so one that still has messages is asked for before we sleep.
        """
        ready = [number for number, socket in self._sockets.items() if int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN]
        return ready + [number for number, _ in self._epoll.poll(0 if ready else timeout_ms / 1000)]

    def close(self) -> None:
        self._epoll.close()
