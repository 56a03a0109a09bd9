"""The memory that a chain writes to: slots of its pools for what leaves the worker, its own for the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from devices.spec import ImageSpec
from flow.plan.value import Ref
from flow.pool import Pool, SlotRef
from flow.worker.source import NoMemory

Growth = Callable[[int, Ref, int], Pool]
"""Asks the executor for a pool with larger slots: (chain, ref, bytes). Raises NoMemory."""


class Lease:
    """This frame's slot for the value at one ref; none where the value does not leave the worker."""

    def __init__(self, ref: Ref, owner: OwnPools) -> None:
        self.ref, self._owner = ref, owner
        self.pool: Pool | None = None
        self.slot: SlotRef | None = None

    def take(self, nbytes: int) -> tuple[SlotRef, np.ndarray] | None:
        """The frame's slot, of at least so many bytes, and its memory; None when the value needs none. Raises NoMemory."""
        slot = self.slot
        if slot is None:
            if self.pool is None:
                return None
            slot = self.slot = self._owner.acquire(self, nbytes)
            if slot is None:
                raise NoMemory(f"no free slot for {self.ref.port} of {self.ref.address[:12]}")
            self._owner.taken.append(self)
        elif nbytes > slot.pool.shape.slot_bytes:
            raise NoMemory(f"expected items that fit into {slot.pool.shape.slot_bytes} bytes, got {nbytes}")
        return slot, slot.pool.view(slot.slot)

    def place(self, nbytes: int) -> tuple[SlotRef, np.ndarray]:
        """The frame's slot for an edge's codec, whose value does not lie in it; the hold is the codec's."""
        found = self.take(nbytes)
        assert found is not None, f"the plan gives {self.ref} a pool because it leaves the worker"
        found[0].pool.hold(found[0])
        return found

    def keep(self, nbytes: int) -> tuple[np.ndarray, SlotRef] | None:
        """A slot that the caller holds and releases, or None when all are held. Raises NoMemory."""
        slot = self._owner.acquire(self, nbytes)
        return None if slot is None else (slot.pool.view(slot.slot), slot)


class OwnPools:
    """The pools that a chain writes to, by ref."""

    def __init__(self, chain: int, grow: Growth) -> None:
        self._chain, self._grow = chain, grow
        self._leases: dict[Ref, Lease] = {}
        self._pools: list[Pool] = []
        self.coming: list[tuple[Ref, Pool]] = []
        """Pools of the plan that comes next."""
        self.taken: list[Lease] = []
        """Leases that have a slot for this frame."""

    def at(self, ref: Ref) -> Lease:
        """The lease for a ref, the same for all frames."""
        if ref not in self._leases:
            self._leases[ref] = Lease(ref, self)
        return self._leases[ref]

    def add(self, ref: Ref, pool: Pool) -> None:
        """A pool, or a larger one in its place (the old one is emptied by those who hold its slots)."""
        self.at(ref).pool = pool
        self._pools = [lease.pool for lease in self._leases.values() if lease.pool is not None]

    def renew(self) -> None:
        """The next frame is the first of a new plan."""
        for ref, pool in self.coming:
            self.add(ref, pool)
        self.coming.clear()

    def owns(self) -> bool:
        """Whether anything that the chain writes leaves the worker in a slot."""
        return bool(self._pools)

    def ready(self) -> bool:
        """Whether a whole frame can be written."""
        for pool in self._pools:  # noqa: SIM110 - asked for every frame, where a generator costs more than the question
            if not pool.can_acquire():
                return False
        return True

    def acquire(self, lease: Lease, nbytes: int) -> SlotRef | None:
        """A slot of a lease's pool, or of a larger one in its place; None when all are held. Raises NoMemory."""
        pool = lease.pool
        assert pool is not None
        if nbytes > pool.shape.slot_bytes:
            pool = self._grow(self._chain, lease.ref, nbytes)
            self.add(lease.ref, pool)
        return pool.acquire()

    def end_frame(self) -> None:
        """The frame has gone on: who still needs its slots holds them."""
        if self.taken:
            for lease in self.taken:
                assert lease.slot is not None
                lease.slot.pool.release(lease.slot)
                lease.slot = None
            self.taken.clear()


def picture_memory(lease: Lease, *, fresh: bool) -> Callable[[ImageSpec], tuple[np.ndarray, SlotRef | None] | None]:
    """Room for a source's pictures: a slot where they leave the chain, else our own memory (`fresh`: not used again)."""
    kept = np.empty(0, np.uint8)
    known: ImageSpec | None = None
    nbytes = 0

    def room(spec: ImageSpec) -> tuple[np.ndarray, SlotRef | None] | None:
        nonlocal kept, known, nbytes
        if spec is not known:
            known, nbytes = spec, spec.nbytes
        if lease.pool is not None:
            if fresh:
                return lease.keep(nbytes)
            found = lease.take(nbytes)
            assert found is not None
            return found[1], found[0]
        if fresh:
            return np.empty(nbytes, np.uint8), None
        if len(kept) < nbytes:
            kept = np.empty(nbytes, np.uint8)
        return kept, None

    return room
