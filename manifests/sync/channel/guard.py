"""Bounds on what peers may take: messages a second, connections of strangers, file descriptors."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path


class Bucket:
    """A token bucket: `rate` a second on average, `burst` at once."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, now

    def take(self, now: float) -> bool:
        """Takes one; False where there is none."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Descriptors:
    """Whether there is room for more connections. Below `reserve` free descriptors there is none until twice as many are free.

    A ROUTER that may open no more descriptors spins on its listening socket and serves nobody (pyzmq issue 1642); one that has stopped
    listening goes on serving those it has.
    """

    def __init__(self, reserve: int, limit: int | None = None) -> None:
        self.limit = raise_limit() if limit is None else limit
        self.reserve = reserve
        self.open = True

    def check(self) -> bool:
        """Whether to listen now."""
        free = self.limit - count()
        self.open = free >= (self.reserve if self.open else 2 * self.reserve)
        return self.open


def count() -> int:
    """File descriptors that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def raise_limit() -> int:
    """Raises the soft limit of file descriptors to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def hang_up(descriptor: int, port: int) -> None:
    """Shuts down a connection accepted on `port`; libzmq, which owns the descriptor, then closes it. Anything else is left alone."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as peer:
            if peer.getsockname()[1] == port:
                peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
