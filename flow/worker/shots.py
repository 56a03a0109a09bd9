"""Pictures of a source that writes them where consumers read them, straight into rings: a slot, the picture, one native step."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from devices import kernels
from devices.kernels import books as at
from flow.plan.value import Ref
from flow.pool import Pool, SlotRef
from flow.worker.books import Books
from flow.worker.source import WaitingSource
from flow.worker.ways import FramesOut
from ops.value import Image

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner

LISTEN_NS = 20_000_000
"""After so long the worker must look at everything else."""


class Shots:
    """Takes pictures and passes them on, each of them settled."""

    def __init__(self, chain: ChainRunner, source: WaitingSource, ways_out: list[FramesOut], books: Books) -> None:
        self.chain, self.source, self.ways_out, self._books = chain, source, ways_out, books
        self._lease = chain.pools.at(Ref(source.stream.address, "image"))
        self._pool: Pool | None = None
        self._images: dict[int, Image] = {}
        functions = kernels.functions()
        self._slot = partial(functions["ace_slot"], books.address)
        self._shot = partial(functions["ace_shot"], books.address)

    def most(self) -> int:
        """How many pictures may be taken now. Raises SourceError."""
        pool = self._lease.pool
        if not self.chain.go or self.chain.settling or not (self._books.quick or self._books.begin()):
            return 0
        if pool is None or pool.shape.slot_bytes < self.source.spec.nbytes or self._lease.slot is not None:
            return 0
        if pool is not self._pool:
            self._pool = pool
            self._images.clear()
            words = self._books.words
            words[at.POOL], words[at.POOL_NUMBER] = pool.address, pool.shape.id
        return self.source.fillable()

    def run(self, most: int) -> bool:
        """At most so many; whether there may be more at once. Raises SourceError."""
        chain, source, images, take = self.chain, self.source, self._images, self._slot
        end = 0
        while True:
            slot = take()
            chain.blocked = slot < 0
            if slot < 0:
                return end > 0
            image = images.get(slot) or self._image(slot)
            try:
                found = source.next(image)
            except BaseException:
                self._let_go(slot)
                raise
            if found is None:
                self._let_go(slot)
                chain.ended = True
                return False
            seq, pts_ns, capture_ns, time_ns = found
            self._shot(slot, seq, pts_ns, time_ns, capture_ns)
            most -= 1
            end = end or capture_ns + LISTEN_NS
            if not most or chain.stopped or capture_ns > end:
                return True

    def _let_go(self, slot: int) -> None:
        pool = self._pool
        assert pool is not None
        pool.release(SlotRef(pool, slot, pool.generations[slot]))

    def _image(self, slot: int) -> Image:
        pool = self._pool
        assert pool is not None
        image = self._images[slot] = self.source.picture(pool.view(slot))
        for way in self.ways_out:
            way.describe(image)
        return image
