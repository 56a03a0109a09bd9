"""A worker with one chain: what it takes, settles and sleeps through, over rings as the executor makes them."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from devices.kernels.links import ENTRY_BYTES, HEAD_WORDS
from devices.spec import ImageSpec
from flow.entry import EdgeCodec
from flow.ledger import Block, Layout, conserved, make_block
from flow.link.bell import Bell, LiveBell
from flow.link.ring import RingReceiver, RingSender, RingShape, allocate
from flow.plan.value import Edge, Ref
from flow.pool import Pool, PoolShape, read_only
from flow.pool import allocate as allocate_pool
from flow.wiring import EDGE_CAUSES
from flow.worker.alone import Alone
from flow.worker.books import Books
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from flow.worker.waiter import Waiter
from flow.worker.ways import FramesIn, FramesOut
from ops.value import Image, rotation_transform

SPEC = ImageSpec(32, 16, "rgb24")
SHAPE = RingShape(4, ENTRY_BYTES)
COUNTS = ("in", "out", "in_flight", "turn", "settled")
PRODUCED = tuple(f"edge:0.{name}" for name in (*COUNTS, *(f"dropped:{cause}" for cause in EDGE_CAUSES)))
TAKEN = tuple(f"taken:0.{name}" for name in (*COUNTS, "dropped:join", "dropped:broken"))


class Common:
    """What `Alone` asks of a chain's common path: it settles like one, and keeps what it took."""

    def __init__(self, block: Block, edge: InEdge) -> None:
        self.chain: Any = SimpleNamespace(
            chain=SimpleNamespace(id=0), block=block, state_area=None, source=None, stopped=set(), settling=[], blocked=False
        )
        head = self._head = np.zeros(HEAD_WORDS, np.int64)
        self.way_in = FramesIn(edge, [0], head.data, head.ctypes.data)
        self.way_in.take_over()
        assert self.way_in.pictures is not None
        self.pictures = self.way_in.pictures
        self.books = Books(self.chain, self.way_in, [], head.ctypes.data)
        self.block, self.limited, self.frames, self.active = block, False, 0, True
        self.taken: list[tuple[int, int]] = []

    def settle_now(self, *, opens: bool = False) -> int:
        self.block.words[0] += opens
        if self.frames:
            self.books.settle(self.frames)
        self.frames = 0
        self.block.words[0] += 1
        return 16

    def picture_pass(self, found: int) -> None:
        assert self.block.words[0] % 2 == 1, "within a change of the ledger"
        image = self.pictures.images.get(found) or self.pictures.picture(found)
        self.taken.append((int(self._head[3]), image.planes[0].item(0)))
        self.frames += 1


class Bench:
    """A producer and a consumer of one edge, each with a block of its own."""

    def __init__(self) -> None:
        self.blocks = [Block(make_block(layout, "test"), layout) for layout in map(Layout, (PRODUCED, TAKEN))]
        shape = PoolShape(0, 4, 4096, 2)
        data, table = allocate_pool(shape)
        theirs = Pool(shape, read_only(data), os.dup(table), 1)
        self.pool = Pool(shape, data, table, 0)
        self.live = [LiveBell("producer"), LiveBell("consumer")]
        self.own = Bell(os.dup(self.live[1].bell), os.dup(self.live[1].word), own=True)
        ring = allocate(SHAPE, "test")
        edge = Edge(0, 0, 1, (Ref("node", "image"),), 4, 4096, "block", 1)
        self.out = OutEdge(edge, EdgeCodec([SPEC], 4096), self.blocks[0], replica=0, replicas=1, consumers=1, live=False)
        self.edge = InEdge(edge, EdgeCodec([SPEC], 4096), {0: theirs}, self.blocks[1], replica=0, replicas=1, producers=1)
        self.edge.open(0, RingReceiver(SHAPE, os.dup(ring), self._bell(0)))
        self.out.open(0, RingSender(SHAPE, ring, self._bell(1)))
        self.head = np.zeros(HEAD_WORDS, np.int64)
        self.way = FramesOut(self.out, [0], [], self.head.data, self.head.ctypes.data)
        self.way.take_over()
        self.waiter = Waiter(self.own.fd)
        self.waiter.unsure = False
        self.common = Common(self.blocks[1], self.edge)
        self.given = 0

    def _bell(self, of: int) -> Bell:
        return Bell(os.dup(self.live[of].bell), os.dup(self.live[of].word_read_only), own=False)

    def alone(self, waiter: Waiter | None) -> Alone:
        common: Any = self.common
        return Alone(common, self.own, waiter)

    def give(self) -> None:
        assert self.way.room() > 0
        ref = self.pool.acquire()
        assert ref is not None
        planes = SPEC.split(self.pool.view(ref.slot))
        planes[0][...] = self.given + 40
        self.head[3] = self.given
        self.way.give([Image(SPEC, planes, rotation_transform(SPEC), ref)])
        self.way.finish()
        self.pool.release(ref)
        self.given += 1

    def check(self, taken: int) -> None:
        assert self.common.taken == [(seq, seq + 40) for seq in range(taken)]
        counts = self.blocks[1].snapshot(patience_s=0.0)
        assert self.blocks[1].words[0] % 2 == 0
        assert conserved(counts, "taken:0")
        assert [counts[f"taken:0.{name}"] for name in COUNTS] == [taken, taken, 0, taken, taken]
        self.way.room()
        self.way.finish()
        assert self.pool.held() == self.given - taken, "what is settled is finished with"
        assert conserved(self.blocks[0].snapshot(patience_s=0.0), "edge:0")

    def close(self) -> None:
        self.out.close()
        self.edge.close()
        self.waiter.close()
        for bell in (self.own, *self.live):
            bell.close()


def test_what_has_come_is_taken_and_settled() -> None:
    bench = Bench()
    alone = bench.alone(None)
    assert not alone.run()
    for _ in range(3):
        bench.give()
    assert alone.run()
    bench.check(3)
    bench.close()


def test_each_frame_is_settled_where_the_chain_says_so() -> None:
    bench = Bench()
    bench.common.limited = True
    for _ in range(2):
        bench.give()
    assert bench.alone(None).run()
    bench.check(2)
    bench.close()


def test_nothing_is_taken_while_business_has_stopped() -> None:
    bench = Bench()
    bench.give()
    bench.common.chain.stopped.add("pet")
    assert not bench.alone(None).run()
    bench.check(0)
    bench.close()


def test_it_sleeps_until_a_picture_comes_and_lets_other_threads_run() -> None:
    """The frames come from a thread of the same interpreter: it could not give them while the sleeper held it."""
    bench = Bench()
    other = os.eventfd(0)
    bench.waiter.add(other)

    def produce() -> None:
        for taken in range(1, 9):
            bench.give()
            while len(bench.common.taken) < taken:
                os.sched_yield()
        os.eventfd_write(other, 1)

    producer = threading.Thread(target=produce)
    producer.start()
    rounds = 0
    while producer.is_alive() or not bench.waiter.unsure:
        bench.waiter.unsure = False
        bench.alone(bench.waiter).run()
        rounds += 1
        assert rounds < 1000
    producer.join()
    bench.check(8)
    assert bench.waiter.unsure, "something else than the bell was heard of"
    os.close(other)
    bench.close()


@pytest.mark.parametrize("death", [0, 1])
def test_a_settlement_that_was_begun_is_completed_or_never_was(death: int) -> None:
    """Words of the journal: before it counts, what a successor reads is what stood there; once it does, it is completed."""
    bench = Bench()
    bench.give()
    bench.alone(None).run()
    block = bench.blocks[1]
    journal = np.frombuffer(block._map, np.int64)[block.layout.words :]
    turn = block.index("taken:0.turn")
    assert journal[0] == 0
    journal[1], journal[2], journal[0] = turn, 7, death
    block._apply()
    assert block.get("taken:0.turn") == (7 if death else 1)
    bench.close()
