"""What the supervisor sleeps for: results, what workers say, their ends, and whoever else in its process wants it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection
from typing import Any

import zmq

from flow.executor.results import ResultsInbox
from flow.link.bell import Bell, LiveBell, Rest


class Alarm:
    """`bell` is rung by workers that publish results while the supervisor sleeps."""

    def __init__(self) -> None:
        self.bell = LiveBell("executor")
        self._own = Bell(os.dup(self.bell.bell), os.dup(self.bell.word), own=True)
        self._lock = threading.Lock()
        self._closed = False
        self._poller = zmq.Poller()
        self._speakers: list[Any] = []

    def poke(self) -> None:
        """Wakes the supervisor, from any thread; nothing once the run is over."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.bell.bell, 1)

    def sleep(self, speakers: list[zmq.Socket[bytes] | socket.socket | None], inboxes: Collection[ResultsInbox], timeout_ms: int) -> bool:
        """Until results come, somebody pokes, or a speaker (a socket) has something: whether one had."""
        if speakers != self._speakers:
            self._speakers, self._poller = speakers, zmq.Poller()
            for waitable in (self.bell.bell, *speakers):
                if waitable is not None:
                    self._poller.register(waitable, zmq.POLLIN)
        self._own.rest(Rest.FOR_ENTRIES)
        stirs = any(inbox.stirs() for inbox in inboxes)
        events = dict(self._poller.poll(0 if stirs else timeout_ms))
        self._own.rise()
        if events.pop(self.bell.bell, 0):
            os.eventfd_read(self.bell.bell)
        return bool(events)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._own.close()
            self.bell.close()
