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


class OwnPools:
    """The pools a chain writes to, by ref; the slot of each that this frame uses."""

    def __init__(self, chain: int, grow: Growth) -> None:
        self._chain, self._grow = chain, grow
        self._pools: dict[Ref, Pool] = {}
        self._leases: dict[Ref, SlotRef] = {}

    def add(self, ref: Ref, pool: Pool) -> None:
        """A pool, or a larger one in its place (the old one is emptied by those who hold its slots)."""
        self._pools[ref] = pool

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._pools

    def ready(self) -> bool:
        """Whether a whole frame can be written."""
        return all(pool.can_acquire() for pool in self._pools.values())

    def lease(self, ref: Ref, nbytes: int) -> tuple[SlotRef, np.ndarray] | None:
        """This frame's slot at a ref; None when the value does not leave the worker. Raises NoMemory."""
        pool = self._pools.get(ref)
        if pool is None:
            return None
        slot = self._leases.get(ref)
        if slot is None:
            if nbytes > pool.shape.slot_bytes:
                pool = self._pools[ref] = self._grow(self._chain, ref, nbytes)
            slot = pool.acquire()
            if slot is None:
                raise NoMemory(f"no free slot for {ref.port} of {ref.address[:12]}")
            self._leases[ref] = slot
        elif nbytes > slot.pool.shape.slot_bytes:
            raise NoMemory(f"expected items that fit into {slot.pool.shape.slot_bytes} bytes, got {nbytes}")
        return slot, slot.pool.view(slot.slot)

    def take(self, ref: Ref, nbytes: int) -> tuple[np.ndarray, SlotRef] | None:
        """A slot that the caller holds and releases, or None when all are held. Raises NoMemory."""
        pool = self._pools[ref]
        if nbytes > pool.shape.slot_bytes:
            pool = self._pools[ref] = self._grow(self._chain, ref, nbytes)
        slot = pool.acquire()
        return None if slot is None else (pool.view(slot.slot), slot)

    def place(self, ref: Ref) -> Callable[[int], tuple[SlotRef, np.ndarray]]:
        """How an edge's codec gets a slot for a value that does not lie in one; the hold is the codec's."""

        def take(nbytes: int) -> tuple[SlotRef, np.ndarray]:
            found = self.lease(ref, nbytes)
            assert found is not None, f"the plan gives {ref} a pool because it leaves the worker"
            found[0].pool.hold(found[0])
            return found

        return take

    def end_frame(self) -> None:
        for slot in self._leases.values():
            slot.pool.release(slot)
        self._leases.clear()


def picture_memory(pools: OwnPools, ref: Ref, *, fresh: bool) -> Callable[[ImageSpec], tuple[np.ndarray, SlotRef | None] | None]:
    """Room for a source's pictures: a slot where they leave the chain, else our own memory (`fresh`: not used again)."""
    kept = [np.empty(0, np.uint8)]

    def room(spec: ImageSpec) -> tuple[np.ndarray, SlotRef | None] | None:
        if ref in pools:
            if fresh:
                return pools.take(ref, spec.nbytes)
            found = pools.lease(ref, spec.nbytes)
            assert found is not None
            return found[1], found[0]
        if fresh:
            return np.empty(spec.nbytes, np.uint8), None
        if len(kept[0]) < spec.nbytes:
            kept[0] = np.empty(spec.nbytes, np.uint8)
        return kept[0], None

    return room
