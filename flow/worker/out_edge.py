"""The producer's end of an edge: turns, credits, replay.

Entries of an edge are numbered by *turn*, and turn t goes from producer replica t mod p to consumer replica t mod c. Whoever restarts
goes on at the turn that was settled last; what the link already has is not sent again, so the receiver sees every turn exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow.entry import EdgeCodec, Entry, Kind, Overflow, Place, named_slots
from flow.ledger import Block
from flow.link.contract import Sender
from flow.link.ring import RingSender
from flow.plan.value import Edge
from flow.pool import Pool, SlotRef
from flow.wiring import EDGE_CAUSES
from flow.worker.in_edge import ENDED

if TYPE_CHECKING:
    from flow.worker.pictures import PicturesOut


@dataclass(slots=True)
class Packed:
    """An entry ready to go, and the slots that are held for it; its `turn` once it has gone."""

    data: bytes
    slots: list[SlotRef]
    frame: bool
    turn: int = -1

    def release(self) -> None:
        for ref in self.slots:
            ref.pool.release(ref)
        self.slots.clear()


class Lane:
    """The producer's side of one link: what the receiver has not finished with."""

    def __init__(self) -> None:
        self.sender: Sender | None = None
        self.unacked: deque[Packed] = deque()
        self.greeted = False
        self.pictures: PicturesOut | None = None
        """Who gives single pictures in our place."""

    def under_way(self) -> int:
        """Entries that the receiver has not finished with."""
        return len(self.unacked) + (self.pictures.under_way() if self.pictures is not None else 0)


class OutEdge:
    """The producer's end: numbers entries, counts credits, keeps what the receiver has not finished with."""

    def __init__(
        self, edge: Edge, codec: EdgeCodec, block: Block, *, replica: int, replicas: int, consumers: int, live: bool, inner: bool = False,
        rereads: bool = False, pools: Mapping[int, Pool] | None = None,
    ) -> None:  # fmt: skip
        self.edge, self.codec, self.block, self.live = edge, codec, block, live
        self.pools = pools if pools is not None else {}
        self.inner = inner
        """Whether the consumer dies with us: then only what it has finished with is safe."""
        self.rereads = rereads
        """Whether a successor of ours can give every frame again: then it begins with what the consumer had not finished with, wherever
        the link itself keeps nothing.
        """
        self.recovering = live and block.get(f"edge:{edge.id}.turn") > 0
        self.replicas = replicas
        self.links = [Lane() for _ in range(consumers)]
        self.credits = max(1, -(-edge.capacity // max(consumers, 1)))
        self.turn = block.get(f"edge:{edge.id}.turn") or replica
        self._counts: dict[int, int] = {}
        with block.change():
            self._recount()
        self._in, self._out, self._in_flight = (block.index(f"edge:{edge.id}.{name}") for name in ("in", "out", "in_flight"))
        self.waiting = 0
        """Frames that its gate holds back."""
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

    def forget(self) -> None:
        """Everything sent so far has been settled elsewhere."""
        self._counts.clear()

    def mark(self) -> tuple[OutEdge, int]:
        """Everything sent so far, to be settled later."""
        self._counts[self.turn] = self.block.get(f"{self.key}.in")
        return self, self.turn

    def credit(self) -> bool:
        """Whether an entry may be sent now."""
        link = self.links[self.turn % len(self.links)]
        return link.sender is not None and link.greeted and not self.recovering and link.under_way() < self.credits

    def takes(self) -> bool:
        """Whether an entry could be sent now, as far as any thread can see: for sources that ask before they write a picture."""
        if self.stopped:
            return True
        for link in self.links:
            sender = link.sender
            if sender is not None and (not isinstance(sender, RingSender) or sender.under_way() < self.credits):
                return True
        return False

    def linked(self) -> bool:
        """Whether there is somebody to send to; at a switch the first reader may still be on its way."""
        return any(link.sender is not None for link in self.links)

    def pack(self, entry: Entry, places: Sequence[Place]) -> Packed | None:
        """The entry as bytes, with the slots it holds; a bound in its place when it overflows; None once nobody reads the edge."""
        frame = entry.kind is Kind.FRAME
        if frame:
            self.block.words[self._in] += 1
        if self.stopped:
            if frame:
                self.block.add(f"{self.key}.dropped:stopped")
            return None
        slots: list[SlotRef] = []
        entry.slots = slots
        try:
            return Packed(self.codec.encode(entry, places), slots, frame)
        except Overflow:
            self.block.add(f"{self.key}.dropped:overflow")
            return Packed(self.bound(entry), slots, False)
        finally:
            entry.slots = []

    def drop(self, packed: Packed, cause: str) -> None:
        """The entry is not sent."""
        packed.release()
        if packed.frame:
            self.block.add(f"{self.key}.dropped:{cause}")

    def bound(self, entry: Entry) -> bytes:
        """The entry that says: no value for this frame."""
        return self.codec.encode(
            Entry(Kind.BOUND, entry.stream, entry.epoch, entry.seq, entry.pts_ns, entry.time_ns, entry.capture_ns, entry.flags), ()
        )

    def send(self, packed: Packed) -> None:
        """Gives the entry the next turn and sends it."""
        packed.turn = self.turn
        self._put(self.links[self.turn % len(self.links)], packed)
        self.turn += self.replicas
        if not self.live:
            self._counts[self.turn] = self.block.words[self._in]

    def _put(self, link: Lane, packed: Packed) -> None:
        """Sends an entry, unless the receiver got it from an earlier life of this worker, and keeps it until it is finished with."""
        sender = link.sender if link.greeted else None
        arrived = sender is not None and packed.turn < sender.durable
        if sender is not None and arrived and (isinstance(sender, RingSender) or packed.turn < sender.done):
            packed.release()  # a ring keeps it
            if packed.frame:
                self.block.add(f"{self.key}.out")
            return
        link.unacked.append(packed)
        if sender is not None and not arrived:
            sender.send(packed.turn, packed.data)

    def end(self, entry: Entry) -> None:
        """Tells every consumer replica that the stream has ended."""
        if self.stopped:
            return
        data = self.codec.encode(entry, ())
        for consumer, link in enumerate(self.links):
            turns = range(self.turn, self.turn + self.replicas * len(self.links), self.replicas)
            turn = next((turn for turn in turns if turn % len(self.links) == consumer), None)
            if turn is None:  # no entry of this replica ever goes there
                continue
            self._put(link, Packed(data, [], False, turn))
        self.turn += self.replicas * len(self.links)
        self.note()

    def poll(self) -> bool:
        """Takes in acknowledgements; whether anything moved."""
        moved = False
        for index, link in enumerate(self.links):
            if link.sender is None:
                continue
            if link.pictures is not None:
                moved |= link.pictures.reap()
            if link.sender.poll():
                moved = True
                if not link.greeted:
                    self._greet(index)
            while link.unacked and link.unacked[0].turn < link.sender.done:
                sent = link.unacked.popleft()
                sent.release()
                moved = True
                if sent.frame:
                    self.block.words[self._out] += 1
        if moved:
            self.note()
        return moved

    def _greet(self, index: int) -> None:
        """The receiver has said how far it got: what it lacks is sent again."""
        link = self.links[index]
        assert link.sender is not None
        link.greeted = True
        self._bridge(index)
        for sent in link.unacked:
            if sent.turn >= link.sender.durable:
                link.sender.send(sent.turn, sent.data)
        if self.recovering and all(link.greeted for link in self.links):
            self._fill()

    def _bridge(self, index: int) -> None:
        """Turns that only the receiver had, and lost when it died after an earlier life of ours: bounds take their place."""
        link = self.links[index]
        assert link.sender is not None
        first = link.unacked[0].turn if link.unacked else self.turn
        missing = range(max(link.sender.durable, link.sender.done), first)
        for turn in reversed([turn for turn in missing if self._ours(turn) and turn % len(self.links) == index]):
            data = self.codec.encode(Entry(Kind.BOUND, 0, 0, -1, -1, None, 0), ())
            link.unacked.appendleft(Packed(data, [], False, turn))
            self.block.add(f"{self.key}.dropped:death")
            self.block.add(f"{self.key}.out", -1)

    def _ours(self, turn: int) -> bool:
        return (turn - self.turn) % self.replicas == 0

    def _fill(self) -> None:
        """After a death frames of a live source are gone: a bound takes the place of every turn that never arrived.

        A receiver that wants no more of the edge says that it has everything up to ENDED.
        """
        self.recovering = False
        ends = [link.sender.durable for link in self.links if link.sender is not None and link.sender.durable < ENDED]
        for turn in range(self.turn, max(ends, default=self.turn)):
            link = self.links[turn % len(self.links)]
            if link.sender is not None and turn >= link.sender.durable:
                data = self.codec.encode(Entry(Kind.BOUND, 0, 0, -1, -1, None, 0), ())
                link.unacked.append(Packed(data, [], False, turn))
                link.sender.send(turn, data)
        self.turn = max([self.turn, *ends])

    def stirs(self) -> bool:
        """Whether a link has acknowledgements that were not taken in."""
        return any(link.sender is not None and link.sender.stirs() for link in self.links)

    def note(self) -> None:
        """Writes what is in flight, counted and not derived."""
        sent = sum(one.frame for link in self.links for one in link.unacked)
        flying = sum(link.pictures.under_way() for link in self.links if link.pictures is not None)
        self.block.words[self._in_flight] = sent + flying + self.waiting

    def durable(self, turn: int) -> bool:
        """Whether every entry before `turn` survives this worker (frames of a live source cannot be read again: always)."""
        if self.live or self.stopped:
            return True
        for link in self.links:
            if not link.unacked:
                continue
            confirmed = -1
            if link.sender is not None and link.greeted:
                patient = self.inner or (self.rereads and not isinstance(link.sender, RingSender))
                confirmed = link.sender.done if patient else link.sender.durable
            for sent in link.unacked:
                if sent.turn >= turn:
                    break
                if sent.turn >= confirmed:
                    return False
        return True

    def settled(self) -> bool:
        """Nothing is in flight."""
        return not any(link.under_way() for link in self.links)

    def open(self, consumer: int, sender: Sender) -> None:
        """Uses a new link to this replica. What is unfinished is taken over where the link kept it, and else sent once the receiver has
        greeted.
        """
        link = self.links[consumer]
        if link.sender is not None:
            link.sender.close()
        link.sender, link.greeted = sender, False
        kept = sender.unfinished()
        if kept is not None:
            with self.block.change():
                for turn, data in kept:
                    self._take_over(link, turn, data)
                self._greet(consumer)
                self.note()

    def _take_over(self, link: Lane, turn: int, data: bytes) -> None:
        """An entry that an earlier life has published; its slots are held already."""
        kind, named = named_slots(data)
        frame = kind is Kind.FRAME and (self.live or turn < self.turn)  # later turns will be offered, and counted, again
        slots = [SlotRef(self.pools[pool], slot, generation) for pool, slot, generation in named]
        link.unacked.append(Packed(b"", slots, frame, turn))
        if frame:
            self.block.add(f"{self.key}.dropped:death" if self.live else f"{self.key}.out", -1)

    def held(self) -> list[SlotRef]:
        """Slots of entries that are under way, as often as they are held for them."""
        return [ref for link in self.links for sent in link.unacked for ref in sent.slots]

    def stop(self) -> None:
        """Gives the edge up: nobody reads it any more."""
        self.poll()
        self.stopped = True
        for link in self.links:
            if link.pictures is not None:
                self.block.add(f"{self.key}.dropped:stopped", link.pictures.let_go())
            for sent in link.unacked:
                self.drop(sent, "stopped")
            link.unacked.clear()
        self.note()

    def close(self) -> None:
        for link in self.links:
            if link.sender is not None:
                link.sender.close()
                link.sender = None
            link.pictures = None  # it leads to us, and to the link's memory
