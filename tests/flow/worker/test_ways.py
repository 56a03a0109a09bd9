"""Where a chain's links are looked through anew, frames that are under way stay accounted for."""

from __future__ import annotations

import os

import numpy as np
import pytest

from devices.kernels.links import ENTRY_BYTES, HEAD_WORDS
from devices.spec import ImageSpec
from flow.entry import EdgeCodec
from flow.ledger import Block, Layout, conserved, make_block
from flow.link.bell import Bell, LiveBell
from flow.link.ring import RingReceiver, RingSender, RingShape, allocate
from flow.plan.value import Edge, Ref
from flow.pool import Pool, PoolShape, SlotRef
from flow.pool import allocate as allocate_pool
from flow.wiring import EDGE_CAUSES
from flow.worker.out_edge import OutEdge
from flow.worker.ways import FramesOut
from ops.value import Image, rotation_transform

SPEC = ImageSpec(32, 16, "rgb24")
SHAPE = RingShape(4, ENTRY_BYTES)


class Bench:
    """A producer's end of an edge that carries one picture, over rings to so many consumers."""

    def __init__(self, consumers: int) -> None:
        keys = [f"edge:0.{name}" for name in ("in", "out", "in_flight", "turn", "settled", *(f"dropped:{cause}" for cause in EDGE_CAUSES))]
        layout = Layout(keys)
        self.block = Block(make_block(layout, "test"), layout)
        shape = PoolShape(0, 4, 4096, 1)
        self.pool = Pool(shape, *allocate_pool(shape), 0)
        edge = Edge(0, 0, 1, (Ref("node", "image"),), 4 * consumers, 4096, "block", 1)
        self.out = OutEdge(edge, EdgeCodec([SPEC], 4096), self.block, replica=0, replicas=1, consumers=consumers, live=False)
        self.bells = [LiveBell("producer"), LiveBell("consumer")]
        self.consumers = []
        for consumer in range(consumers):
            ring = allocate(SHAPE, "test")
            self.consumers.append(RingReceiver(SHAPE, os.dup(ring), self._bell(0)))
            self.out.open(consumer, RingSender(SHAPE, ring, self._bell(1)))
        self.looks()

    def _bell(self, of: int) -> Bell:
        return Bell(os.dup(self.bells[of].bell), os.dup(self.bells[of].word_read_only), own=False)

    def looks(self) -> None:
        """What a chain does whenever any of its links has changed."""
        self.head = np.zeros(HEAD_WORDS, np.int64)
        self.way = FramesOut(self.out, [0], [self._no_place], self.head.data, self.head.ctypes.data)

    @staticmethod
    def _no_place(nbytes: int) -> tuple[SlotRef, np.ndarray]:
        raise AssertionError("the picture lies in a slot")

    def give(self) -> None:
        ref = self.pool.acquire()
        assert ref is not None
        planes = SPEC.split(self.pool.view(ref.slot))
        self.way.take_over()
        self.way.give([Image(SPEC, planes, rotation_transform(SPEC), ref)])
        self.way.finish()
        self.way.hand_back()
        self.pool.release(ref)

    def finish(self, consumer: int) -> None:
        """The consumer is done with everything."""
        receiver = self.consumers[consumer]
        while receiver.receive() is not None:
            receiver.finish(receiver.taken)

    def counts(self) -> dict[str, int]:
        return {key: self.block.get(key) for key in self.block.layout.keys}

    def close(self) -> None:
        self.out.close()
        for receiver in self.consumers:
            receiver.close()
        for bell in self.bells:
            bell.close()


@pytest.mark.parametrize("consumers", [1, 2])
def test_frames_under_way_stay_counted_and_held_when_links_are_looked_through(consumers: int) -> None:
    bench = Bench(consumers)
    for _ in range(3):
        bench.give()
    bench.looks()
    assert bench.counts()["edge:0.in_flight"] == 3
    assert bench.pool.held() == 3
    bench.give()
    for consumer in range(consumers):
        bench.finish(consumer)
    bench.out.poll()
    bench.way.finish()
    counts = bench.counts()
    assert (counts["edge:0.in"], counts["edge:0.out"], counts["edge:0.in_flight"]) == (4, 4, 0)
    assert conserved(counts, "edge:0")
    assert bench.pool.held() == 0, "consumers have finished with all of them"
    bench.close()
