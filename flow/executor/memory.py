"""Shared memory that the executor keeps for its workers, so that nothing is lost with one of them."""

from __future__ import annotations

import os

from flow import pool as pools
from flow.link import ring
from flow.link.ring import RingShape
from flow.wiring import LinkId, PoolSeat


class LivePool:
    """A pool with its descriptors, which the executor keeps so that nothing is lost with a worker."""

    def __init__(self, seat: PoolSeat) -> None:
        self.seat = seat
        self.data, self.table = pools.allocate(seat.shape)
        self.data_read_only = pools.read_only(self.data)

    def close(self) -> None:
        for fd in (self.data, self.table, self.data_read_only):
            os.close(fd)


class LiveRing:
    """A link's ring, through all lives of both ends."""

    def __init__(self, link: LinkId, shape: RingShape) -> None:
        self.link, self.shape = link, shape
        self.fd = ring.allocate(shape, link.name)

    def unfinished(self) -> list[bytes]:
        """Entries that the consumer has not finished with; to be asked once the producer is dead."""
        return ring.unfinished(self.shape, self.fd)

    def close(self) -> None:
        os.close(self.fd)
