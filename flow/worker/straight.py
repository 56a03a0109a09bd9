"""A chain's common path: frames one after another from one source or one ring, through the nodes, into rings.

What is rare is left to the chain: bounds, ends, frames set aside, replicas, joins, entries that do not decode, frames that thin out. Both
work on the same links, counters and settlements, so either can take the next frame. The gain is in what frames share: one look at each
link, one settlement, one acknowledgement.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from devices.spec import ImageSpec
from flow.entry import HEAD, ITEM, PICTURE, RESET, Entry, EntryError, Kind, Place, picture_bytes
from flow.ledger import Block
from flow.link.ring import RECORD, RingReceiver, RingSender
from flow.pool import PoolError, SlotRef
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge, Packed
from flow.worker.settlement import Settlement
from flow.worker.sinks import ResultsTarget
from flow.worker.source import SourceStage
from ops.value import Affine, Frame, Image

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner

MOST_FRAMES = 16
"""Frames that share a settlement."""
LONGEST_NS = 200_000
"""After so long those that wait for a settlement get it."""
START = struct.Struct(RECORD.format + HEAD.format.lstrip("<"))
"""A record of a ring, and the head of the entry in it."""
PICTURE_ENTRY = HEAD.size + ITEM.size + PICTURE.size
FRAME, BOUND = int(Kind.FRAME), int(Kind.BOUND)

Head = tuple[int, ...]
"""flags, stream, epoch, seq, pts_ns, time_ns (-1: none), capture_ns."""


class _WayIn:
    """The ring that frames come from."""

    def __init__(self, edge: InEdge, receiver: RingReceiver) -> None:
        self.edge, self.receiver = edge, receiver
        self.ports = edge.codec.ports
        self.single = [not port.many and isinstance(port.item, ImageSpec) for port in self.ports]
        self.rare = False
        """Whether what comes next is not for the common path."""
        self._pictures: list[dict[tuple[int, int], tuple[bytes, Image, SlotRef]]] = [{} for _ in self.ports]
        index = edge.block.index
        self._in, self._out = index(f"{edge.key}.in"), index(f"{edge.key}.out")
        self._turn, self._settled = index(f"{edge.key}.turn"), index(f"{edge.key}.settled")

    def idle(self) -> bool:
        """Whether the chain itself has nothing of this edge in hand."""
        edge = self.edge
        return edge.links[0] is self.receiver and not (edge.queue or edge.early or edge.ended or edge.abandoned)

    def next(self, values: list[Any], places: Sequence[int]) -> Head | None:
        """Head of the next frame, whose values are put into the table; None when there is none, or a rare one."""
        entries = self.receiver.entries
        start = self.receiver.next()
        if start < 0:
            return None
        turn, _, kind, flags, stream, epoch, seq, pts, time_ns, capture, count, joined = START.unpack_from(entries, start)
        if kind != FRAME or joined or turn != self.edge.next_turn or count != len(self.ports):
            self.rare = True
            return None
        item = start + START.size
        payload = item + ITEM.size * count
        try:
            for index, place in enumerate(places):
                tag, pool, slot, generation, offset, length = ITEM.unpack_from(entries, item)
                item += ITEM.size
                if tag:
                    inline = entries[payload + offset : payload + offset + length]
                    values[place] = self._value(index, tag, pool, slot, generation, inline)
        except (EntryError, PoolError, KeyError, struct.error):
            self.rare = True
            return None
        return flags, stream, epoch, seq, pts, time_ns, capture

    def _value(self, index: int, tag: int, number: int, slot: int, generation: int, inline: memoryview) -> Any:
        """The value over the entry; not held: the producer holds its slot until we acknowledge the frame."""
        if tag != 2:
            return self.ports[index].decode(inline, None)
        if number not in self.edge.pools:
            raise EntryError(f"expected a pool this worker has, got {number}")
        pool = self.edge.pools[number]
        pool.check(slot, generation)
        if not self.single[index]:
            return self.ports[index].decode(inline, SlotRef(pool, slot, generation))
        known, data = self._pictures[index].get((number, slot)), bytes(inline)
        if known is not None and known[0] == data and known[2].pool is pool:
            known[2].generation = generation
            return known[1]
        ref = SlotRef(pool, slot, generation)
        image = self.ports[index].decode(inline, ref)
        assert isinstance(image, Image)
        self._pictures[index][number, slot] = data, image, ref
        return image

    def took(self) -> None:
        """The frame that `next` gave is being worked on."""
        self.receiver.take(self.edge.next_turn)
        self.edge.next_turn += 1

    def count(self, frames: int) -> None:
        words = self.edge.block.words
        words[self._in] += frames
        words[self._out] += frames
        self.edge.received[0] = self.edge.next_turn

    def settle(self, changes: dict[int, int]) -> None:
        edge = self.edge
        edge.settled_turn = edge.next_turn
        changes[self._turn], changes[self._settled] = edge.next_turn, edge.block.words[self._in]

    def acknowledge(self) -> None:
        self.receiver.acknowledge(self.edge.settled_turn, self.edge.settled_turn)


class _WayOut:
    """A ring that frames go to."""

    def __init__(self, edge: OutEdge, sender: RingSender, places: Sequence[int], room: Sequence[Place]) -> None:
        self.edge, self.sender, self.places, self.room = edge, sender, places, room
        self.link = edge.links[0]
        port = edge.codec.ports[0]
        self.single = len(edge.codec.ports) == 1 and not port.many and isinstance(port.item, ImageSpec)
        self.entries = 0
        index = edge.block.index
        self._in, self._turn, self._settled = (index(f"{edge.key}.{name}") for name in ("in", "turn", "settled"))
        self._picture: tuple[ImageSpec | None, Affine | None, bytes] = (None, None, b"")

    def idle(self) -> bool:
        edge = self.edge
        return self.link.sender is self.sender and not (edge.recovering or edge.stopped)

    def give(self, head: Head, values: list[Any]) -> None:
        """Sends the frame's values, or a bound when there are none."""
        edge, sender = self.edge, self.sender
        turn = edge.turn
        image = values[self.places[0]]
        if not self.single or turn < sender.durable or type(image) is not Image or type(image.slot) is not SlotRef:
            self._give_any(head, values)
            return
        ref = image.slot
        ref = SlotRef(ref.pool, ref.slot, ref.generation)
        ref.pool.hold(ref)
        spec, transform, inline = self._picture
        if image.spec is not spec or image.transform is not transform:
            inline = picture_bytes(image)
            self._picture = image.spec, image.transform, inline
        memory = sender.memory
        start = sender.begin()
        START.pack_into(memory, start, turn, PICTURE_ENTRY, FRAME, *head, 1, 0)
        start += START.size
        ITEM.pack_into(memory, start, 2, ref.pool.shape.id, ref.slot, ref.generation, 0, PICTURE.size)
        start += ITEM.size
        memory[start : start + PICTURE.size] = inline
        self.link.unacked.append(Packed(b"", [ref], True, turn))
        self.entries += 1
        edge.turn = turn + 1
        sender.publish(turn)

    def _give_any(self, head: Head, values: list[Any]) -> None:
        flags, stream, epoch, seq, pts, time_ns, capture = head
        found = tuple(values[place] for place in self.places)
        kind = Kind.FRAME if any(value is not None for value in found) else Kind.BOUND
        entry = Entry(
            kind, stream, epoch, seq, pts, None if time_ns < 0 else time_ns, capture, flags, found if kind is Kind.FRAME else ()
        )  # fmt: skip
        packed = self.edge.pack(entry, self.room)
        if packed is not None:
            self.edge.send(packed)

    def count(self) -> None:
        self.edge.block.words[self._in] += self.entries
        self.entries = 0
        self.edge.note()

    def settle(self, changes: dict[int, int]) -> None:
        changes[self._turn], changes[self._settled] = self.edge.turn, self.edge.block.words[self._in]


class Straight:
    """The common path of a chain; `of` gives it where the chain has one."""

    def __init__(self, chain: ChainRunner, way_in: _WayIn | None, ways_out: Sequence[_WayOut]) -> None:
        self.chain, self.way_in, self.ways_out = chain, way_in, ways_out
        self.source: SourceStage | None = chain.source
        self.block: Block = chain.block
        key = f"chain:{chain.chain.id}"
        self._state, self._next_seq, self._last_pts = (
            self.block.layout.index.get(f"{key}.{name}", -1) for name in ("state", "next_seq", "last_pts")
        )
        self._stream = chain.streams.index(self.source.stream.name) if self.source is not None else -1
        self._targets = [sink.target for sink in chain.sinks if isinstance(sink.target, ResultsTarget)]
        self._places_in = [place for _, places in chain.frames_in for place in places]

    @classmethod
    def of(cls, chain: ChainRunner) -> Straight | None:
        """None for a chain of another shape: with a join, replicas, other links than rings, or frames to set aside."""
        senders = [[link.sender for link in edge.links] for edge in chain.outbound]
        receivers = [edge.links for edge in chain.inbound]
        if (
            not all(len(links) == 1 and isinstance(links[0], RingSender) for links in senders)
            or not all(len(links) == 1 and isinstance(links[0], RingReceiver) for links in receivers)
            or any(edge.replicas > 1 for edge in chain.outbound)
            or any(edge.replicas > 1 for edge in chain.inbound)
            or len(receivers) + (chain.source is not None) != 1
            or chain.poison
        ):
            return None
        way_in = None
        for inbound in chain.inbound:
            receiver = inbound.links[0]
            assert isinstance(receiver, RingReceiver)
            way_in = _WayIn(inbound, receiver)
        ways_out = []
        for gate in chain.gates:
            for edge, places, room in gate.edges:
                sender = edge.links[0].sender
                assert isinstance(sender, RingSender)
                ways_out.append(_WayOut(edge, sender, places, room))
        return cls(chain, way_in, ways_out)

    def usable(self) -> bool:
        """Whether the chain has nothing in hand that comes before the next frame."""
        chain = self.chain
        return (
            not (chain.ended or chain.stopped)
            and (self.way_in is None or self.way_in.idle())
            and all(way.idle() for way in self.ways_out)
            and not any(gate.pending for gate in chain.gates)
        )

    def run(self) -> bool | None:
        """Passes on what has come, settled; whether anything moved. None when the chain itself must look."""
        chain, way_in, block = self.chain, self.way_in, self.block
        if not self.usable():
            return None
        moved, rare, frames = False, False, 0
        last: Head | None = None
        started = time.monotonic_ns()
        block.begin()
        try:
            for way in self.ways_out:
                moved |= way.edge.poll()
            for sink in chain.sinks:
                moved |= sink.poll()
            if chain.settling:
                moved |= chain.settle()
            while frames < MOST_FRAMES and not rare:
                chain.blocked = not self._room()
                if chain.blocked:
                    rare = chain.thins
                    break
                values: list[Any] = [None] * chain.size
                if way_in is None:
                    head = self._shoot(values)
                    rare = chain.ended
                else:
                    head = way_in.next(values, self._places_in)
                    rare = way_in.rare
                if head is None:
                    break
                last = self._pass(head, values)
                frames += 1
                if chain.stopped or time.monotonic_ns() - started > LONGEST_NS:
                    break
        finally:
            if last is not None:
                self._settle(last, frames)
            block.end()
        if way_in is not None:
            way_in.rare = False
            if frames or moved:
                way_in.acknowledge()
        return moved or frames > 0 or (None if rare else False)

    def _room(self) -> bool:
        """Whether a frame can be published without waiting."""
        chain = self.chain
        for way in self.ways_out:
            if len(way.link.unacked) >= way.edge.credits:
                return False
        return chain.pools.ready() and all(sink.ready() for sink in chain.sinks) and len(chain.settling) < MOST_FRAMES

    def _shoot(self, values: list[Any]) -> Head | None:
        """The source's next frame."""
        chain, source, block = self.chain, self.source, self.block
        assert source is not None
        if not (chain.go or source.draining):
            return None
        block.end()  # reading may take as long as a frame takes to come: the ledger must be readable meanwhile
        try:
            shot = source.take()
        finally:
            block.begin()
        if shot is None:
            chain.pools.end_frame()
            chain.ended = source.ended
            return None
        values[chain.source_place] = shot.image
        self._shot = shot
        return 0, self._stream, 0, shot.seq, shot.pts_ns, -1 if shot.time_ns is None else shot.time_ns, shot.mono_ns

    def _pass(self, head: Head, values: list[Any]) -> Head:
        """One frame through the nodes and out; gives its head as it went on."""
        chain, way_in = self.chain, self.way_in
        flags, stream, epoch, seq, pts, time_ns, capture = head
        if way_in is not None:
            way_in.took()
        name = chain.streams[stream]
        frame = Frame(name, seq, pts, epoch, None if time_ns < 0 else time_ns)
        flags &= RESET
        try:
            for node in chain.nodes:
                if not node.run(frame, stream, values) and node.node.on_error == "stop":
                    chain.fail(node)
                if node.was_reset:
                    flags |= RESET
                    node.was_reset = False
            head = (flags, stream, epoch, seq, pts, time_ns, capture)
            if chain.sinks:
                chain.write(_entry(head), name, values)
            for way in self.ways_out:
                way.give(head, values)
        finally:
            chain.pools.end_frame()
        if self.source is not None:
            chain.release_shot(self._shot)
            self.source.published(self._shot)
        return head

    def _settle(self, head: Head, frames: int) -> None:
        """Everything up to this frame is published: what a successor needs to know, in one piece.

        Results that our caller has not got yet, and what comes after them, the chain settles when they have arrived.
        """
        chain, block, way_in = self.chain, self.block, self.way_in
        chain.last = _entry(head)
        state = chain.save() if chain.state_area is not None else None
        for way in self.ways_out:
            way.count()
        if way_in is not None:
            way_in.count(frames)
        if chain.settling or any(target.sender.durable < target.turn for target in self._targets):
            taken = [] if way_in is None else [way_in.edge.mark()]
            given = [way.edge.mark() for way in self.ways_out]
            results = [(target, target.turn) for target in self._targets]
            chain.settling.append(Settlement(taken, given, results, head[3] + 1, head[4], state))
            return
        changes: dict[int, int] = {}
        if state is not None and chain.state_area is not None:
            number = block.words[self._state] + 1
            if state:
                block.save_state(chain.state_area, number, state)
            changes[self._state] = number
        for way in self.ways_out:
            way.settle(changes)
        if self.source is not None:
            changes[self._next_seq], changes[self._last_pts] = head[3] + 1, head[4]
        if way_in is not None:
            way_in.settle(changes)
        block.commit(changes)


def _entry(head: Head) -> Entry:
    flags, stream, epoch, seq, pts, time_ns, capture = head
    return Entry(Kind.FRAME, stream, epoch, seq, pts, None if time_ns < 0 else time_ns, capture, flags)
