"""Shared memory that the executor keeps for its workers, so that nothing is lost with one of them."""

from __future__ import annotations

import os

from flow import pool as pools
from flow.wiring import PoolSeat


class LivePool:
    """A pool with its descriptors, which the executor keeps so that nothing is lost with a worker."""

    def __init__(self, seat: PoolSeat) -> None:
        self.seat = seat
        self.data, self.table = pools.allocate(seat.shape)
        self.data_read_only = pools.read_only(self.data)

    def close(self) -> None:
        for fd in (self.data, self.table, self.data_read_only):
            os.close(fd)
