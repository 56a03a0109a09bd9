"""A worker with but one chain: frames on its common path, and the worker's sleep between them, in few steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Any

import numpy as np

from devices import kernels
from devices.kernels import lane as at
from devices.kernels.links import NOTHING, REST
from flow.link.bell import Bell
from flow.worker import straight as common
from flow.worker.shots import LISTEN_NS
from flow.worker.straight import Straight
from flow.worker.waiter import LOOK_NS, WAIT_MS, Waiter


def run_alone(straight: Straight, bell: Bell, waiter: Waiter | None) -> bool:
    """Passes frames on as they come, settled, until something else happens, or for a while; whether any came. Raises SourceError.

    `waiter`: what the worker waits on, the bell and all else; None: it does not wait.
    """
    if straight.waiting is not None:
        return _read(straight)
    if straight.pictures is None or straight.run() is None or not straight.active or straight.chain.blocked:
        return False
    if straight.alone is None:
        straight.alone = Alone(straight, bell, waiter)
    return straight.alone.run()


def _read(straight: Straight) -> bool:
    """Frames of a source that waits until it is asked."""
    end = monotonic_ns() + LISTEN_NS
    any_came = False
    while straight.run() and not straight.chain.blocked and monotonic_ns() < end:
        any_came = True
    return any_came


class Alone:
    """Pictures from the worker's only edge: a native step from each to the next, the settlement and the sleep between them included."""

    def __init__(self, straight: Straight, bell: Bell, waiter: Waiter | None) -> None:
        self.straight, self.waiter, self.bell = straight, waiter, bell
        self._array, self._events = np.zeros(at.WORDS, np.int64), np.zeros(at.MOST_EVENTS * at.EVENT_BYTES, np.uint8)
        words: Any = self._array.data
        self.words = words
        words[at.BOOKS], words[at.MOST], words[at.LONGEST_NS] = straight.books.address, common.MOST_FRAMES, common.LONGEST_NS
        words[at.LISTEN_NS], words[at.LOOK_NS] = LISTEN_NS, LOOK_NS
        words[at.BELL], words[at.BELL_WORD] = bell.fd, bell.word
        words[at.EPOLL] = -1 if waiter is None else waiter.number
        words[at.TIMEOUT_MS], words[at.EVENTS] = WAIT_MS, self._events.ctypes.data
        words[at.EVENT_DESCRIPTOR] = 1 if os.uname().machine == "x86_64" else 2
        self._next: Callable[[], int] = partial(kernels.functions()["ace_next"], self._array.ctypes.data)

    def run(self) -> bool:
        """Until something else happens, or for a while; whether any came."""
        straight, words, take, one = self.straight, self.words, self._next, self.straight.picture_pass
        chain, waiter, settle = straight.chain, self.waiter, straight.settle_now
        limited, books, pictures = straight.limited, straight.books, straight.pictures
        assert pictures is not None
        straight.frames = 0
        words[at.FRAMES], words[at.END] = 0, monotonic_ns() + LISTEN_NS
        words[at.ROOM] = settle(opens=True)
        if not chain.settling:
            books.begin()
        pictures.words[REST] = self.bell.word
        any_came = False
        try:
            while not chain.stopped and not chain.settling and not (waiter is not None and waiter.unsure):
                found = take()
                if found < 0:
                    if found == NOTHING and waiter is not None:
                        waiter.unsure = True
                    break
                any_came = True
                one(found)
                if limited or not books.quick:
                    words[at.ROOM], words[at.FRAMES] = settle(), 0
            if words[at.FRAMES]:
                settle()
        finally:
            self.bell.rise()
            pictures.words[REST] = 0
        return any_came
