"""The two ends of an edge together: every turn once and in order between any number of replicas, through deaths on either side."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import RecordsSpec
from flow.entry import EdgeCodec, Entry, Kind
from flow.ledger import Block, Layout, conserved, make_block
from flow.plan.value import Edge, Policy, Ref
from flow.wiring import EDGE_CAUSES
from flow.worker.gate import Gate
from flow.worker.in_edge import ENDED, InEdge
from flow.worker.out_edge import OutEdge

POINTS = RecordsSpec("points", 4)
REF = Ref("node", "points")


class Wire:
    """Both ends of a link in one object: what is sent is there at once."""

    waitable = None

    def __init__(self) -> None:
        self.entries: deque[tuple[int, memoryview]] = deque()
        self.said: tuple[int, int] | None = None
        self.durable = self.done = 0

    def unfinished(self) -> None:
        return None

    def stirs(self) -> bool:
        return self.said is not None

    def send(self, index: int, data: bytes) -> None:
        self.entries.append((index, memoryview(data)))

    def poll(self) -> bool:
        said, self.said = self.said, None
        if said is not None:
            self.durable, self.done = max(self.durable, said[0]), max(self.done, said[1])
        return said is not None

    def receive(self) -> tuple[int, memoryview] | None:
        return self.entries.popleft() if self.entries else None

    def acknowledge(self, received: int, done: int) -> None:
        self.said = received, done

    def close(self) -> None:
        pass


class Bench:
    """An edge between `producers` and `consumers` replicas, driven by hand."""

    def __init__(self, producers: int, consumers: int, capacity: int = 4, policy: Policy = "block", queue: int = 1) -> None:
        self.edge = Edge(0, 0, 1, (REF,), capacity, 4096, policy, queue)
        self.codec = EdgeCodec([POINTS], 4096)
        keys = [f"edge:0.{name}" for name in ("in", "out", "in_flight", "turn", "settled")] + [
            f"edge:0.dropped:{cause}" for cause in EDGE_CAUSES
        ]
        keys += [f"taken:0.{name}" for name in ("in", "out", "in_flight", "turn", "settled", "dropped:join", "dropped:broken")]
        self.layout = Layout(keys)
        self.blocks = [make_block(self.layout, "test") for _ in range(producers + consumers)]
        self.producers, self.consumers = producers, consumers
        self.live = policy != "block"
        self.outs = [self._out(replica) for replica in range(producers)]
        self.ins = [self._in(replica) for replica in range(consumers)]
        self.next = list(range(producers))
        for producer in range(producers):
            for consumer in range(consumers):
                self._connect(producer, consumer)
        self.got: list[list[int]] = [[] for _ in range(consumers)]

    def _out(self, replica: int) -> Gate:
        edge = OutEdge(
            self.edge, self.codec, Block(self.blocks[replica], self.layout), replica=replica, replicas=self.producers,
            consumers=self.consumers, live=self.live,
        )  # fmt: skip
        return Gate([(edge, [0], [self._no_slot])], self.edge.policy, self.edge.queue)

    @staticmethod
    def _no_slot(nbytes: int) -> None:
        raise AssertionError("records need no slot")

    def _in(self, replica: int) -> InEdge:
        block = Block(self.blocks[self.producers + replica], self.layout)
        return InEdge(self.edge, self.codec, {}, block, replica=replica, replicas=self.consumers, producers=self.producers)

    def _connect(self, producer: int, consumer: int) -> None:
        wire = Wire()
        self.outs[producer].edges[0][0].open(consumer, wire)
        self.ins[consumer].open(producer, wire)

    def offer(self, producer: int) -> bool:
        """The next frame of this replica, if it may be offered."""
        gate = self.outs[producer]
        gate.edges[0][0].poll()
        gate.pump()
        if not gate.ready():
            return False
        number = self.next[producer]
        records = np.zeros(1, POINTS.dtype)
        records["score"] = number
        entry = Entry(Kind.FRAME, 0, 0, number, number, None, 0, values=(records,))
        ((edge, turn),) = gate.offer([entry])
        self.next[producer] += self.producers
        if edge.durable(turn):
            edge.settle(turn)
        return True

    def take(self, consumer: int) -> bool:
        """One entry, processed and settled."""
        edge = self.ins[consumer]
        edge.poll()
        if not edge.queue:
            edge.acknowledge(idle=True)
            return False
        turn, entry = edge.pop()
        if entry.kind is Kind.FRAME:
            self.got[consumer].append(entry.seq)
        edge.finish(entry)
        edge.settle(turn)
        edge.acknowledge()
        return True

    def kill_consumer(self, consumer: int) -> None:
        """Its successor knows what the block knows."""
        self.ins[consumer] = self._in(consumer)
        for producer in range(self.producers):
            self._connect(producer, consumer)

    def kill_producer(self, producer: int) -> None:
        self.outs[producer] = self._out(producer)
        turn = self.outs[producer].edges[0][0].turn
        self.next[producer] = turn
        for consumer in range(self.consumers):
            self._connect(producer, consumer)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(3, 6),
    st.lists(st.tuples(st.sampled_from(["offer", "take"] * 2 + ["kill consumer", "kill producer"]), st.integers(0, 2)), max_size=120),
)  # fmt: skip
def test_every_turn_once_and_in_order(producers: int, consumers: int, capacity: int, steps: list[tuple[str, int]]) -> None:
    """A producer that dies offers what was not settled again; a consumer that dies is sent what it had not finished.

    Over a link that keeps nothing itself, one death at a time: a consumer that has what its producer forgot finishes with it first.
    """
    bench = Bench(producers, consumers, capacity)
    forgotten = False
    for what, who in steps:
        match what:
            case "offer":
                bench.offer(who % producers)
            case "take":
                bench.take(who % consumers)
            case "kill consumer":
                while forgotten and bench.take(who % consumers):
                    pass
                if not (forgotten and bench.ins[who % consumers].early):
                    bench.kill_consumer(who % consumers)
            case "kill producer":
                bench.kill_producer(who % producers)
                forgotten = True
    goal = max(bench.next) + producers * consumers
    for _ in range(2000):
        for producer in range(producers):
            if bench.next[producer] < goal:
                bench.offer(producer)
            else:
                bench.outs[producer].edges[0][0].poll()
        for consumer in range(consumers):
            while bench.take(consumer):
                pass
    for consumer, seqs in enumerate(bench.got):
        assert seqs == list(range(consumer, max(seqs) + 1, consumers))
        assert max(seqs) >= goal - producers * consumers


def test_without_credit_a_block_gate_is_not_ready() -> None:
    bench = Bench(1, 1, capacity=2)
    assert [bench.offer(0) for _ in range(3)] == [True, True, False]
    bench.take(0)
    assert bench.offer(0)


def test_latest_keeps_the_newest_and_counts_the_rest() -> None:
    bench = Bench(1, 1, capacity=1, policy="latest")
    for _ in range(6):
        assert bench.offer(0)
    for _ in range(4):
        bench.take(0)
        bench.outs[0].edges[0][0].poll()
        bench.outs[0].pump()
    assert bench.got == [[0, 5]]
    counts = bench.outs[0].edges[0][0].block.snapshot()
    assert (counts["edge:0.in"], counts["edge:0.dropped:latest"]) == (6, 4)
    assert conserved(counts, "edge:0")


def test_drop_oldest_keeps_a_queue() -> None:
    bench = Bench(1, 1, capacity=1, policy="drop_oldest", queue=3)
    for _ in range(8):
        assert bench.offer(0)
    for _ in range(8):
        bench.take(0)
        bench.outs[0].edges[0][0].poll()
        bench.outs[0].pump()
    assert bench.got == [[0, 5, 6, 7]]
    assert conserved(bench.outs[0].edges[0][0].block.snapshot(), "edge:0")


def test_a_value_that_overflows_becomes_a_counted_bound() -> None:
    bench = Bench(1, 1)
    gate = bench.outs[0]
    gate.edges[0][0].poll()
    gate.offer([Entry(Kind.FRAME, 0, 0, 0, 0, None, 0, values=(np.zeros(5, POINTS.dtype),))])
    bench.next[0] = 1
    bench.offer(0)
    bench.take(0)
    bench.take(0)
    assert bench.got == [[1]]
    assert gate.edges[0][0].block.snapshot()["edge:0.dropped:overflow"] == 1


def test_edges_that_belong_together_take_a_frame_all_or_none(tmp_path: Path) -> None:
    """One of two consumers is slow: both get the same frames, so their join loses nothing more."""
    fast, slow = Bench(1, 1, capacity=1, policy="latest"), Bench(1, 1, capacity=1, policy="latest")
    gate = Gate([fast.outs[0].edges[0], slow.outs[0].edges[0]], "latest", 1)
    for number in range(9):
        records = np.zeros(1, POINTS.dtype)
        for edge, _, _ in gate.edges:
            edge.poll()
        gate.pump()
        gate.offer([Entry(Kind.FRAME, 0, 0, number, number, None, 0, values=(records,))] * 2)
        fast.take(0)
        if number % 3 == 2:
            slow.take(0)
    for _ in range(3):
        fast.take(0)
        slow.take(0)
        for edge, _, _ in gate.edges:
            edge.poll()
        gate.pump()
    assert fast.got == slow.got
    assert len(fast.got[0]) >= 3


def test_the_last_frames_are_not_settled_by_the_end_behind_them() -> None:
    """All have been taken, only the first is safe: a successor must get the second again."""
    bench = Bench(1, 1)
    edge = bench.outs[0].edges[0][0]
    for _ in range(2):
        assert bench.offer(0)
    edge.end(Entry(Kind.END, 0, 0, 1 << 62, 1 << 62, None, 0))
    into = bench.ins[0]
    into.poll()
    turns = [into.pop()[0] for _ in range(3)]
    into.settle(turns[0])
    successor = bench._in(0)
    assert (successor.ended, successor.next_turn) == (False, turns[1])
    into.settle(turns[1])
    into.settle(turns[2])
    assert bench._in(0).ended


def test_frames_that_both_ends_lost_are_counted_and_not_waited_for() -> None:
    """The producer died when its consumer had them, then the consumer: bounds take their turns."""
    bench = Bench(1, 1)
    for _ in range(3):
        assert bench.offer(0)
    bench.ins[0].poll()
    bench.outs[0].edges[0][0].settle(3)
    bench.outs[0], bench.ins[0] = bench._out(0), bench._in(0)
    bench._connect(0, 0)
    assert bench.offer(0)
    bench.ins[0].poll()
    assert [bench.ins[0].pop()[1].kind for _ in range(4)] == [Kind.BOUND, Kind.BOUND, Kind.BOUND, Kind.FRAME]
    counters = bench.outs[0].edges[0][0].block.snapshot()
    assert counters["edge:0.dropped:death"] == 3
    assert conserved(counters, "edge:0")


def test_a_camera_that_comes_back_goes_on_beside_a_consumer_that_wants_no_more() -> None:
    """The consumer's join has ended: it says that it has everything there will ever be, which is no place to go on from."""
    bench = Bench(1, 1, policy="latest")
    bench.offer(0)
    bench.take(0)
    bench.ins[0].abandon()
    bench.ins[0].settle(ENDED)
    bench.kill_consumer(0)
    bench.kill_producer(0)
    bench.offer(0)
    edge = bench.outs[0].edges[0][0]
    edge.poll()
    assert edge.turn < 10
