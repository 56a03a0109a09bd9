"""A bound on what peers can have kept for them.

A message may come in parts, and libzmq keeps each until the last has come, whatever limits it was given for parts and messages: a peer that
never ends one would fill the memory. So whenever the process has grown, it is looked which connections have brought much.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from manifests.sync.channel.guard import accepted

STEP = 64 << 20
"""Bytes by which the process has grown when connections are looked at."""
MOST = 4 << 20
"""Bytes that one connection may have brought meanwhile. One that has in a long time only connects again."""
TCP_INFO_RECEIVED = 128, 136
"""Where `struct tcp_info` of Linux has `tcpi_bytes_received`."""


class Hoard:
    """Connections accepted on `port`, and what each had brought when the process was last a step smaller."""

    def __init__(self, port: int) -> None:
        self._port, self._size = port, resident()
        self._before: dict[int, int] = {}

    def greedy(self) -> list[int]:
        """Descriptors of those that brought too much while the process grew."""
        size = resident()
        self._size = min(self._size, size)
        if size < self._size + STEP:
            return []
        before, self._before, self._size = self._before, {}, size
        for connection in accepted(self._port):
            self._before[connection.fileno()] = received(connection)
            connection.detach()
        return [each for each, bytes_now in self._before.items() if bytes_now - before.get(each, 0) > MOST]


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def received(connection: socket.socket) -> int:
    """Bytes that a connection has brought; 0 where the system does not say."""
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return 0
    return int.from_bytes(told[slice(*TCP_INFO_RECEIVED)], "little")
