"""Shared memory that the executor keeps for its workers, so that nothing is lost with one of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flow import pool as pools
from flow.entry import named_slots
from flow.executor.workers import Worker
from flow.link import ring as rings
from flow.link.ring import RingShape
from flow.plan.value import Ref
from flow.pool import PoolError, PoolShape
from flow.wiring import LinkId, PoolSeat, Seat, Wiring
from flow.worker.setup import GRANT, RING, PoolGrant, RingGrant, as_json


class LivePool:
    """A pool with its descriptors, which the executor keeps so that nothing is lost with a worker."""

    def __init__(self, seat: PoolSeat, epoch: int = 0) -> None:
        self.seat, self.epoch = seat, epoch
        self.data, self.table = pools.allocate(seat.shape)
        self.data_read_only = pools.read_only(self.data)

    def close(self) -> None:
        for fd in (self.data, self.table, self.data_read_only):
            os.close(fd)


class LiveRing:
    """A link's ring, through all lives of both ends."""

    def __init__(self, link: LinkId, shape: RingShape, epoch: int = 0) -> None:
        self.link, self.shape, self.epoch = link, shape, epoch
        self.fd = rings.allocate(shape, link.name)

    def unfinished(self) -> list[bytes]:
        """Entries that the consumer has not finished with; to be asked once the producer is dead."""
        return rings.unfinished(self.shape, self.fd)

    def close(self) -> None:
        os.close(self.fd)


class SharedMemory:
    """All pools and rings of a plan. Raises PoolError or OSError when the memory is not there."""

    def __init__(self, wiring: Wiring, workers: Mapping[Seat, Worker]) -> None:
        self.wiring, self.workers = wiring, workers
        self.pools: list[LivePool] = []
        self.rings: dict[LinkId, LiveRing] = {}
        self.epoch = 0
        """Of the plan that frames flow through; pools of a later one wait for it."""
        self._numbered = 0
        try:
            self._add(wiring, 0)
        except BaseException:
            self.close()
            raise

    def _add(self, wiring: Wiring, epoch: int) -> None:
        """What a plan needs and is not there."""
        there = {(live.seat.pool, live.seat.replica, live.seat.holders) for live in self.pools}
        for seat in wiring.pools(self._numbered):
            self._numbered += 1
            if (seat.pool, seat.replica, seat.holders) not in there:
                self.pools.append(LivePool(seat, epoch))
        for link in wiring.links():
            if wiring.carrier(link) == "ring" and link not in self.rings:
                self.rings[link] = LiveRing(link, wiring.ring(wiring.edges[link.edge]), epoch)

    def extend(self, both: Wiring, after: Wiring, workers: Mapping[Seat, Worker], epoch: int) -> None:
        """Makes what the next plan needs beside what is there. Raises PoolError or OSError when the memory is not there."""
        before = self.wiring, self.workers
        self.wiring, self.workers = both, workers
        try:
            self._add(after, epoch)
        except BaseException:
            self.reduce(*before)
            raise

    def reduce(self, wiring: Wiring, workers: Mapping[Seat, Worker]) -> list[int]:
        """Gives back what this plan does not need; numbers of pools that are gone."""
        self.wiring, self.workers = wiring, workers
        gone = self.superfluous(wiring)
        for live in [live for live in self.pools if live.seat.shape.id in gone]:
            self.pools.remove(live)
            live.close()
        links = set(wiring.links())
        for link in [link for link in self.rings if link not in links]:
            self.rings.pop(link).close()
        return gone

    def superfluous(self, wiring: Wiring) -> list[int]:
        """Numbers of pools that a plan does not need."""
        wanted = {(seat.pool, seat.replica, seat.holders) for seat in wiring.pools()}
        return [live.seat.shape.id for live in self.pools if (live.seat.pool, live.seat.replica, live.seat.holders) not in wanted]

    def hand_over(self, worker: Worker, *, wiring: Wiring | None = None, epoch: int = 0, since: int = 0) -> None:
        """Gives a worker its pools and its ends of rings: of the plan that it knows (`wiring`), up to `epoch`, and of pools and rings
        only those that came with the epoch `since`.
        """
        known = self.wiring if wiring is None else wiring
        for live in sorted(self.pools, key=lambda live: live.epoch):  # a value's newest pool comes last: it is written to
            if since <= live.epoch <= epoch:
                self._grant(live, worker)
        for link, ring in self.rings.items():
            ends = self.wiring.ends(link)
            if worker.seat in ends and link.edge in known.edges and ring.epoch >= since:
                sending = worker.seat == ends[0]
                other = self.workers[ends[1] if sending else ends[0]].bell
                grant = as_json(RING, RingGrant(link, ring.shape, sending))
                worker.send({"kind": "ring", "grant": grant}, [ring.fd, other.bell, other.word_read_only])

    def _grant(self, live: LivePool, worker: Worker) -> None:
        """Hands the pool to the chains of one worker that may hold its slots."""
        seat = worker.seat
        for row, (chain, replica) in enumerate(live.seat.holders):
            if self.wiring.lane_of[chain].id == seat.lane and replica == seat.replica:
                ref = live.seat.pool.ref
                grant = PoolGrant(live.seat.shape, chain, row, ref.address, ref.port, live.epoch)
                data = live.data if row == 0 else live.data_read_only
                worker.send({"kind": "pool", "grant": as_json(GRANT, grant)}, [data, live.table])

    def grow(self, worker: Worker, event: Mapping[str, Any]) -> None:
        """A picture larger than planned: a pool with larger slots beside the old one. Raises PoolError when the device lacks the memory."""
        from flow.plan.admit import available_memory

        ref = Ref(event["address"], event["port"])
        old = next(
            live.seat
            for live in reversed(self.pools)
            if live.seat.pool.ref == ref and live.seat.holders[0] == (event["chain"], worker.seat.replica) and live.epoch <= self.epoch
        )
        slot_bytes = -(-int(event["bytes"]) // 4096) * 4096
        shape = PoolShape(self._numbered, old.shape.slots, slot_bytes, old.shape.rows)
        self._numbered += 1
        available = available_memory()
        if shape.data_bytes > available:
            raise PoolError(f"expected {shape.data_bytes} bytes of shared memory for larger pictures, got {available} available")
        live = LivePool(PoolSeat(shape, old.pool, old.replica, old.holders), self.epoch)
        self.pools.append(live)
        for seat in sorted(self.workers, key=lambda seat: seat == worker.seat):  # who asked comes last: then all others have it
            if not self.workers[seat].gone:
                self._grant(live, self.workers[seat])

    def let_go(self, seat: Seat, *, returns: bool) -> None:
        """A dead worker holds no slot any more, but for what it has published, as long as it `returns` to let go of that."""
        under_way: dict[tuple[int, int], Counter[int]] = {}
        for link, ring in self.rings.items() if returns else ():
            if self.wiring.ends(link)[0] == seat:
                for data in ring.unfinished():
                    for pool, slot, _ in named_slots(data)[1]:
                        under_way.setdefault((self.wiring.edges[link.edge].producer, pool), Counter())[slot] += 1
        chains = self.wiring.lanes[seat.lane].chains
        for live in self.pools:
            for row, (chain, replica) in enumerate(live.seat.holders):
                if chain in chains and replica == seat.replica:
                    pools.write_row(live.seat.shape, live.table, row, under_way.get((chain, live.seat.shape.id), {}))

    def held(self) -> int:
        """Slots that anybody holds."""
        return sum(pools.held_slots(live.seat.shape, live.table) for live in self.pools)

    def nbytes(self) -> int:
        """Bytes of pools and rings."""
        return sum(live.seat.shape.data_bytes + live.seat.shape.table_bytes for live in self.pools) + sum(
            ring.shape.nbytes for ring in self.rings.values()
        )

    def close(self) -> None:
        for live in self.pools:
            live.close()
        for ring in self.rings.values():
            ring.close()
