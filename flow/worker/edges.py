"""The two ends of an edge in a worker: turns, credits, overload policy, replay, acknowledgement.

Entries of an edge are numbered by *turn*, and turn t goes from producer replica t mod p to consumer replica t mod c. Whoever restarts
goes on at the turn that was settled last; what the receiver has already got is not sent again, so it sees every turn exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flow.entry import EdgeCodec, Entry, EntryError, Kind, Overflow, Place
from flow.ledger import Block
from flow.link.contract import Receiver, Sender
from flow.plan.value import Edge
from flow.pool import Pool, PoolError, SlotRef
from flow.wiring import EDGE_CAUSES


@dataclass(slots=True)
class _Sent:
    turn: int
    data: bytes
    slots: list[SlotRef]

    def release(self) -> None:
        for ref in self.slots:
            ref.pool.release(ref)
        self.slots.clear()


class _Lane:
    """The producer's side of one link: what the receiver has not finished with."""

    def __init__(self) -> None:
        self.sender: Sender | None = None
        self.unacked: deque[_Sent] = deque()
        self.greeted = False


class OutEdge:
    """The producer's end. Without credit `block` makes the chain wait; other policies keep the newest frames and count the rest."""

    def __init__(self, edge: Edge, codec: EdgeCodec, block: Block, *, replica: int, replicas: int, consumers: int, live: bool) -> None:
        self.edge, self.codec, self.block, self.live = edge, codec, block, live
        self.thinning = edge.policy in ("latest", "drop_oldest")
        self.recovering = live and block.get(f"edge:{edge.id}.turn") > 0
        self.replicas = replicas
        self.links = [_Lane() for _ in range(consumers)]
        self.credits = max(1, -(-edge.capacity // max(consumers, 1)))
        self.turn = block.get(f"edge:{edge.id}.turn") or replica
        self._counts: dict[int, int] = {}
        self._recount()
        self.pending: deque[tuple[bytes, list[SlotRef]]] = deque()
        self.stopped = False
        self.key = f"edge:{edge.id}"

    def _recount(self) -> None:
        """What an earlier life offered and did not settle will be offered, and counted, again."""
        key, block = f"edge:{self.edge.id}", self.block
        settled = block.get(f"{key}.in") if self.live else block.get(f"{key}.settled")
        dropped = sum(block.get(f"{key}.dropped:{cause}") for cause in EDGE_CAUSES)
        if self.live:
            block.add(f"{key}.dropped:death", settled - dropped - block.get(f"{key}.out"))
        else:
            block.set(f"{key}.in", settled)
            block.set(f"{key}.out", settled - dropped)
        block.set(f"{key}.in_flight", 0)

    def settle(self, turn: int) -> None:
        """Everything before `turn` survives our death."""
        self.block.set(f"{self.key}.turn", turn)
        self.block.set(f"{self.key}.settled", self._counts.pop(turn, self.block.get(f"{self.key}.settled")))

    def ready(self) -> bool:
        """Whether an entry may be offered now without waiting."""
        return self.thinning or self.stopped or self._credit()

    def _credit(self) -> bool:
        link = self.links[self.turn % len(self.links)]
        return link.sender is not None and link.greeted and not self.recovering and len(link.unacked) < self.credits

    def offer(self, entry: Entry, places: Sequence[Place]) -> int:
        """Sends the entry, or keeps or drops it as the policy says. Returns the turn after which the next one follows."""
        if entry.kind is Kind.FRAME:
            self.block.add(f"{self.key}.in")
            if self.stopped:
                self.block.add(f"{self.key}.dropped:stopped")
                return self.turn
        elif self.stopped:
            return self.turn
        slots: list[SlotRef] = []
        try:
            entry.slots = slots
            data = self.codec.encode(entry, places)
        except Overflow:
            self.block.add(f"{self.key}.dropped:overflow")
            data = self.bound(entry)
        entry.slots = []
        if not self.thinning:
            self._send(data, slots, frame=bool(data[0] == Kind.FRAME))
        elif entry.kind is Kind.END:
            self.pending.append((data, slots))
            self.pump()
        else:
            self.pending.append((data, slots))
            self.pump()
            keep = 1 if self.edge.policy == "latest" else self.edge.queue
            while len(self.pending) > keep:
                _, dropped = self.pending.popleft()
                for ref in dropped:
                    ref.pool.release(ref)
                self.block.add(f"{self.key}.dropped:{self.edge.policy}")
        self.note()
        if not self.live:
            self._counts[self.turn] = self.block.get(f"{self.key}.in")
        return self.turn

    def bound(self, entry: Entry) -> bytes:
        """The entry that says: no value for this frame."""
        return self.codec.encode(
            Entry(Kind.BOUND, entry.stream, entry.epoch, entry.seq, entry.pts_ns, entry.time_ns, entry.capture_ns, entry.flags), ()
        )

    def _send(self, data: bytes, slots: list[SlotRef], *, frame: bool) -> None:
        link = self.links[self.turn % len(self.links)]
        sent = _Sent(self.turn, data, slots)
        if link.sender is not None and link.greeted and self.turn < link.sender.durable:
            sent.release()  # the receiver got it from an earlier life of this worker
            if frame:
                self.block.add(f"{self.key}.out")
        else:
            link.unacked.append(sent)
            if link.sender is not None and link.greeted:
                link.sender.send(self.turn, data)
        self.turn += self.replicas

    def end(self, entry: Entry) -> None:
        """Tells every consumer replica that the stream has ended."""
        if self.stopped:
            return
        if self.pending:
            raise AssertionError("frames wait before the end")
        data = self.codec.encode(entry, ())
        for consumer, link in enumerate(self.links):
            turns = range(self.turn, self.turn + self.replicas * len(self.links), self.replicas)
            turn = next((turn for turn in turns if turn % len(self.links) == consumer), None)
            if turn is None:  # no entry of this replica ever goes there
                continue
            link.unacked.append(_Sent(turn, data, []))
            if link.sender is not None and link.greeted:
                link.sender.send(turn, data)
        self.turn += self.replicas * len(self.links)
        self.note()

    def pump(self) -> None:
        """Sends what waits, as far as credits go."""
        while self.pending and self._credit():
            data, slots = self.pending.popleft()
            self._send(data, slots, frame=data[0] == Kind.FRAME)

    def poll(self) -> bool:
        """Takes in acknowledgements; whether anything moved."""
        moved = False
        for index, link in enumerate(self.links):
            if link.sender is None:
                continue
            if link.sender.poll():
                moved = True
                if not link.greeted:
                    self._greet(index)
            while link.unacked and link.unacked[0].turn < link.sender.done:
                sent = link.unacked.popleft()
                sent.release()
                moved = True
                if sent.data[0] == Kind.FRAME:
                    self.block.add(f"{self.key}.out")
        if moved:
            self.pump()
            self.note()
        return moved

    def _greet(self, index: int) -> None:
        """The receiver has said how far it got: what it lacks is sent again."""
        link = self.links[index]
        assert link.sender is not None
        link.greeted = True
        for sent in link.unacked:
            if sent.turn >= link.sender.durable:
                link.sender.send(sent.turn, sent.data)
        if self.recovering and all(link.greeted for link in self.links):
            self._fill()

    def _fill(self) -> None:
        """After a death frames of a live source are gone: a bound takes the place of every turn that never arrived."""
        self.recovering = False
        ends = [link.sender.durable for link in self.links if link.sender is not None]
        for turn in range(self.turn, max(ends)):
            link = self.links[turn % len(self.links)]
            if link.sender is not None and turn >= link.sender.durable:
                data = self.codec.encode(Entry(Kind.BOUND, 0, 0, -1, -1, None, 0), ())
                link.unacked.append(_Sent(turn, data, []))
                link.sender.send(turn, data)
        self.turn = max(self.turn, *ends)

    def note(self) -> None:
        """Writes what is in flight, counted and not derived."""
        waiting = sum(1 for link in self.links for sent in link.unacked if sent.data[0] == Kind.FRAME)
        self.block.set(f"{self.key}.in_flight", waiting + sum(1 for data, _ in self.pending if data[0] == Kind.FRAME))

    def durable(self, turn: int) -> bool:
        """Whether every entry before `turn` survives this worker (frames of a live source cannot be read again: always)."""
        if self.live or self.stopped:
            return True
        for link in self.links:
            confirmed = link.sender.durable if link.sender is not None and link.greeted else -1
            for sent in link.unacked:
                if sent.turn >= turn:
                    break
                if sent.turn >= confirmed:
                    return False
        return True

    def settled(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not self.pending and not any(link.unacked for link in self.links)

    def open(self, consumer: int, sender: Sender) -> None:
        """Uses a new link to this replica; what is unfinished is sent once the receiver has greeted."""
        link = self.links[consumer]
        if link.sender is not None:
            link.sender.close()
        link.sender, link.greeted = sender, False

    def stop(self) -> None:
        """Gives the edge up: nobody reads it any more."""
        self.stopped = True
        for link in self.links:
            for sent in link.unacked:
                if sent.data[0] == Kind.FRAME:
                    self.block.add(f"{self.key}.dropped:stopped")
                sent.release()
            link.unacked.clear()
        for data, slots in self.pending:
            if data[0] == Kind.FRAME:
                self.block.add(f"{self.key}.dropped:stopped")
            for ref in slots:
                ref.pool.release(ref)
        self.pending.clear()
        self.note()

    def close(self) -> None:
        for link in self.links:
            if link.sender is not None:
                link.sender.close()
                link.sender = None


ENDED = 1 << 62


class InEdge:
    """The consumer's end: entries in turn, whatever replica they come from."""

    def __init__(
        self, edge: Edge, codec: EdgeCodec, pools: Mapping[int, Pool], block: Block, *, replica: int, replicas: int, producers: int
    ) -> None:
        self.edge, self.codec, self.pools, self.block = edge, codec, pools, block
        self.replicas = replicas
        self.links: list[Receiver | None] = [None] * producers
        self.key = f"taken:{edge.id}"
        self.next_turn = block.get(f"{self.key}.turn") or replica
        self.settled_turn = self.next_turn
        self.early: dict[int, tuple[int, memoryview]] = {}
        self.queue: deque[tuple[int, Entry]] = deque()
        self.ended = self.abandoned = False
        self.received = [self.next_turn] * producers
        if self.next_turn >= ENDED:
            self.ended = True
            self.queue.append((ENDED, Entry(Kind.END, 0, 0, ENDED, ENDED, None, 0)))
        self._dirty: set[int] = set()
        self._counts: dict[int, int] = {}
        dropped = block.get(f"{self.key}.dropped:join") + block.get(f"{self.key}.dropped:broken")
        settled = block.get(f"{self.key}.settled")
        block.set(f"{self.key}.in", settled)
        block.set(f"{self.key}.out", settled - dropped)
        block.set(f"{self.key}.in_flight", 0)

    def open(self, producer: int, receiver: Receiver) -> None:
        """Uses a new link from this replica and tells it how far we got."""
        old = self.links[producer]
        if old is not None:
            old.close()
        self.links[producer] = receiver
        receiver.acknowledge(self.received[producer], self.settled_turn)

    def poll(self) -> bool:
        """Takes in what has arrived; whether anything did."""
        moved = False
        for producer, link in enumerate(self.links):
            while link is not None and (message := link.receive()) is not None:
                turn, data = message
                self._dirty.add(producer)
                if turn < self.received[producer]:
                    continue
                self.received[producer] = turn + 1
                self.early[turn] = (producer, data)
                moved = True
        if self.abandoned:
            self._discard()
        while not self.ended and (found := self.early.pop(self.next_turn, None)) is not None:
            turn = self.next_turn
            self.next_turn += self.replicas
            self._enqueue(turn, found[1])
        return moved

    def abandon(self) -> None:
        """Nothing that comes here will meet anybody any more: it is taken, counted and let go."""
        while self.queue:
            _, entry = self.queue.popleft()
            self.finish(entry, joined=False)
        self.abandoned = True
        self._discard()
        self.settled_turn = ENDED
        self.block.set(f"{self.key}.turn", ENDED)
        self._dirty.update(range(len(self.links)))

    def _discard(self) -> None:
        for _, data in self.early.values():
            if data[0] == Kind.FRAME:
                self.block.add(f"{self.key}.in")
                self.block.add(f"{self.key}.dropped:join")
        self.early.clear()

    def _enqueue(self, turn: int, data: memoryview) -> None:
        try:
            entry = self.codec.decode(data, self.pools)
        except (EntryError, PoolError):
            self.block.add(f"{self.key}.in")
            self.block.add(f"{self.key}.dropped:broken")
            entry = self.codec.decode(memoryview(bytes([Kind.BOUND]) + bytes(data[1:])), {})
        if entry.kind is Kind.FRAME:
            self.block.add(f"{self.key}.in")
            self.block.add(f"{self.key}.in_flight")
        if entry.kind is Kind.END:
            self.ended = True
        self._counts[turn] = self.block.get(f"{self.key}.in")
        self.queue.append((turn, entry))

    def pop(self) -> tuple[int, Entry]:
        """The first entry, to be processed now."""
        return self.queue.popleft()

    def finish(self, entry: Entry, *, joined: bool = True) -> None:
        """The entry has been processed, or was dropped because its partners never came."""
        if entry.kind is Kind.FRAME:
            self.block.add(f"{self.key}.in_flight", -1)
            self.block.add(f"{self.key}.out" if joined else f"{self.key}.dropped:join")
        entry.release()

    def settle(self, turn: int) -> None:
        """Everything up to `turn` is published where our death cannot touch it."""
        self.settled_turn = ENDED if self.ended and not self.queue else turn + self.replicas
        self.block.set(f"{self.key}.turn", self.settled_turn)
        self.block.set(f"{self.key}.settled", self._counts.pop(turn, self.block.get(f"{self.key}.settled")))
        self._dirty.update(range(len(self.links)))

    def acknowledge(self) -> None:
        """Tells producers, once a round."""
        for producer in self._dirty:
            link = self.links[producer]
            if link is not None:
                link.acknowledge(self.received[producer], self.settled_turn)
        self._dirty.clear()

    def close(self) -> None:
        for index, link in enumerate(self.links):
            if link is not None:
                link.close()
                self.links[index] = None
