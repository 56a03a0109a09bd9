"""Bounds on what peers may take: messages a second, connections of strangers, file descriptors."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path


class Bucket:
    """A token bucket: `rate` a second on average, `burst` at once."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, now

    def take(self, now: float, many: float = 1.0) -> bool:
        """Takes so many; False where there are less, and nothing is taken."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < many:
            return False
        self.tokens -= many
        return True

    def wait(self, many: float = 1.0) -> float:
        """Seconds from the last `take` until there are so many."""
        return max(0.0, many - self.tokens) / self.rate

    def give_back(self) -> None:
        """What one was taken for was no harm."""
        self.tokens = min(self.burst, self.tokens + 1)


class Descriptors:
    """Whether there is room for more connections. Below `reserve` free descriptors there is none until twice as many are free."""

    def __init__(self, reserve: int | None = None, limit: int | None = None) -> None:
        self.limit = raise_limit() if limit is None else limit
        self.reserve = min(1024, self.limit // 8) if reserve is None else reserve
        self.open = True

    def check(self) -> bool:
        """Whether to take new connections now."""
        free = self.limit - count()
        self.open = free >= (self.reserve if self.open else 2 * self.reserve)
        return self.open


class Door:
    """The listening socket of `port`, which a library made and owns.

    A ROUTER that may open no more descriptors spins on its listening socket and serves nobody (pyzmq issue 1642), and one that is unbound
    drops the connections that it has. So the kernel is told to drop what knocks: a socket filter that lets nothing through.
    """

    NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)
    """The classic BPF program `ret 0`."""
    ATTACH, DETACH = 26, 27

    def __init__(self, port: int) -> None:
        self._socket = next(_sockets(port, listening=True), None)
        self._program = ctypes.create_string_buffer(self.NOTHING)
        self._shut = False

    def keep(self, opened: bool) -> None:
        """Opens or shuts the door."""
        if self._socket is None or self._shut == (not opened):
            return
        if opened:
            self._socket.setsockopt(socket.SOL_SOCKET, self.DETACH, 0)
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, self.ATTACH, struct.pack("HP", 1, ctypes.addressof(self._program)))
        self._shut = not opened

    def close(self) -> None:
        """Lets go of the socket, before its owner closes it."""
        if self._socket is not None:
            self._socket.detach()


def _socket(descriptor: int) -> socket.socket | None:
    """A socket object around another's descriptor, to be detached and never closed; None where that is no internet socket.

    The descriptor must not be duplicated: closing a duplicate of a database's file would release the locks of the whole process on it.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        found = socket.socket(fileno=descriptor)
    except OSError:
        return None
    if found.family in {socket.AF_INET, socket.AF_INET6}:
        return found
    found.detach()
    return None


def _sockets(port: int, *, listening: bool) -> Iterator[socket.socket]:
    """Those of this process on a port, each to be detached."""
    for entry in Path("/proc/self/fd").iterdir():
        found = _socket(int(entry.name))
        if found is None:
            continue
        with contextlib.suppress(OSError):
            if bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) == listening and found.getsockname()[1] == port:
                yield found
                continue
        found.detach()


def accepted(port: int) -> Iterator[socket.socket]:
    """The connections accepted on a port, each to be detached and never closed."""
    return _sockets(port, listening=False)


def count() -> int:
    """File descriptors that this process has open."""
    here = Path("/proc/self/fd")
    return here.stat().st_size or sum(1 for _ in os.scandir(here))  # Linux tells it since 6.2; the folder has an entry for every device


def raise_limit() -> int:
    """Raises the soft limit of file descriptors to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def hang_up(descriptor: int, port: int) -> None:
    """Shuts down a connection accepted on `port`; libzmq, which owns the descriptor, then closes it. Anything else is left alone."""
    peer = _socket(descriptor)
    if peer is None:
        return
    with contextlib.suppress(OSError):
        if peer.getsockname()[1] == port:
            peer.shutdown(socket.SHUT_RDWR)
    peer.detach()
