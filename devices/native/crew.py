"""Threads that help with inferences and are parked between them."""

from __future__ import annotations

import weakref
from queue import SimpleQueue
from threading import Thread

from devices.native.kernels import address, scratch
from devices.native.kernels.team import Team

Job = tuple[Team, int, "Scratch"]
"""A team, the number of a thread in it, and the thread's scratch memory."""


class Scratch:
    """Scratch memory of one thread; it is where `address` says as long as this lives."""

    def __init__(self, size: int) -> None:
        self._memory = scratch(size)
        self.address = address(self._memory)


class Crew:
    """`size` threads, the caller's one of them. They end with `close`, or when nobody refers to the crew any more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._orders: list[SimpleQueue[Job | None]] = [SimpleQueue() for _ in range(size - 1)]
        for number, orders in enumerate(self._orders):
            Thread(target=_help, args=(orders,), name=f"native-{number + 1}", daemon=True).start()
        self.close = weakref.finalize(self, _dismiss, self._orders)

    def run(self, team: Team, scratches: list[Scratch]) -> None:
        """Goes through the calls of a team of this size. A helper that wakes late finds the work done."""
        team.open()
        for number, orders in enumerate(self._orders, 1):
            orders.put((team, number, scratches[number]))
        team.work(0, scratches[0].address)

    def scratches(self, size: int) -> list[Scratch]:
        """Scratch memory for each thread."""
        return [Scratch(size) for _ in range(self.size)]


def _help(orders: SimpleQueue[Job | None]) -> None:
    while (job := orders.get()) is not None:
        team, number, memory = job
        team.work(number, memory.address)
        del job, team, memory


def _dismiss(orders: list[SimpleQueue[Job | None]]) -> None:
    for each in orders:
        each.put(None)
