"""A chain's common path: frames one after another from one source or one ring, through the nodes, into rings.

What is rare is left to the chain: bounds, ends, frames set aside, replicas, joins, entries that do not decode, frames that thin out. Both
work on the same links, counters and settlements, so either can take the next frame. The gain is in what frames share: one look at each
link, one settlement, one acknowledgement; and in pictures, which cross a link in one native step.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from devices.kernels.links import CAPTURE, EPOCH, FLAGS, HEAD_WORDS, NOTHING, PTS, SEQ, STREAM, TIME
from flow.entry import HEAD, ITEM, RESET, Entry, EntryError, Kind, Place
from flow.ledger import Block
from flow.link.ring import RECORD, RingReceiver, RingSender
from flow.pool import PoolError, SlotRef
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from flow.worker.pictures import PicturesIn, PicturesOut, carries_pictures
from flow.worker.settlement import Settlement
from flow.worker.sinks import ResultsTarget
from flow.worker.source import Shot, SourceStage
from ops.value import Frame, Image

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner

MOST_FRAMES = 16
"""Frames that share a settlement."""
LONGEST_NS = 200_000
"""After so long those that wait for a settlement get it."""
START = struct.Struct(RECORD.format + HEAD.format.lstrip("<"))
"""A record of a ring, and the head of the entry in it."""
FRAME = int(Kind.FRAME)


class _FramesIn:
    """The ring that frames come from."""

    def __init__(self, edge: InEdge, receiver: RingReceiver, places: list[int], head: Any, address: int) -> None:
        self.edge, self.receiver, self.places, self.head = edge, receiver, places, head
        self.pictures = PicturesIn(edge, receiver, address) if carries_pictures(edge) else None
        self.rare = False
        """Whether what comes next is not for the common path."""
        index = edge.block.index
        self._in, self._out = index(f"{edge.key}.in"), index(f"{edge.key}.out")
        self._turn, self._settled = index(f"{edge.key}.turn"), index(f"{edge.key}.settled")

    def idle(self) -> bool:
        """Whether the chain itself has nothing of this edge in hand."""
        edge = self.edge
        return edge.links[0] is self.receiver and not (edge.queue or edge.early or edge.ended or edge.abandoned)

    def begin(self) -> None:
        self.rare = False
        if self.pictures is not None:
            self.pictures.begin()

    def next(self, values: list[Any]) -> bool:
        """Puts the next frame's values into the table and its head into the head; False when there is none, or a rare one."""
        if self.pictures is None:
            return self._next(values)
        image = self.pictures.take()
        if type(image) is Image:
            values[self.places[0]] = image
            return True
        self.rare = image != NOTHING
        return False

    def _next(self, values: list[Any]) -> bool:
        receiver, edge = self.receiver, self.edge
        entries, start = receiver.entries, receiver.next()
        if start < 0:
            return False
        turn, _, kind, flags, stream, epoch, seq, pts, time_ns, capture, count, joined = START.unpack_from(entries, start)
        if kind != FRAME or joined or turn != edge.next_turn or count != len(self.places):
            self.rare = True
            return False
        item = start + START.size
        payload = item + ITEM.size * count
        try:
            for port, place in zip(edge.codec.ports, self.places, strict=True):
                tag, pool, slot, generation, offset, length = ITEM.unpack_from(entries, item)
                item += ITEM.size
                if tag:
                    ref = None
                    if tag == 2:
                        if pool not in edge.pools:
                            raise EntryError(f"expected a pool this worker has, got {pool}")
                        edge.pools[pool].check(slot, generation)
                        ref = SlotRef(edge.pools[pool], slot, generation)  # not held: the producer holds it until we acknowledge
                    values[place] = port.decode(entries[payload + offset : payload + offset + length], ref)
        except (EntryError, PoolError, struct.error):
            self.rare = True
            return False
        head = self.head
        head[0], head[1], head[2], head[3], head[4], head[5], head[6] = flags, stream, epoch, seq, pts, time_ns, capture
        receiver.taken += 1
        edge.next_turn = edge.received[0] = turn + 1
        return True

    def finish(self, frames: int) -> None:
        if self.pictures is not None:
            self.pictures.finish()
        words = self.edge.block.words
        words[self._in] += frames
        words[self._out] += frames

    def settle(self, changes: dict[int, int]) -> None:
        edge = self.edge
        edge.settled_turn = edge.next_turn
        changes[self._turn], changes[self._settled] = edge.next_turn, edge.block.words[self._in]

    def acknowledge(self) -> None:
        if self.edge.settled_turn == self.edge.next_turn:
            self.receiver.finish(self.receiver.taken)
        else:
            self.receiver.acknowledge(self.edge.settled_turn, self.edge.settled_turn)


class _FramesOut:
    """A ring that frames go to."""

    def __init__(self, edge: OutEdge, sender: RingSender, places: Sequence[int], room: Sequence[Place], head: Any, address: int) -> None:
        self.edge, self.sender, self.places, self.room, self.head = edge, sender, places, room, head
        self.link = edge.links[0]
        self.pictures = edge.pictures = PicturesOut(edge, sender, address) if carries_pictures(edge) else None
        index = edge.block.index
        self._in, self._turn, self._settled = (index(f"{edge.key}.{name}") for name in ("in", "turn", "settled"))

    def idle(self) -> bool:
        edge = self.edge
        return self.link.sender is self.sender and not (edge.recovering or edge.stopped) and edge.turn >= self.sender.durable

    def begin(self) -> int:
        """How many frames may be sent."""
        if self.link.unacked or self.pictures is None:
            self.edge.poll()
        if self.pictures is not None:
            return self.pictures.begin()
        return self.edge.credits - len(self.link.unacked)

    def give(self, values: list[Any]) -> None:
        """Sends the frame's values, or a bound when there are none."""
        if self.pictures is not None:
            image = values[self.places[0]]
            if type(image) is Image and type(image.slot) is SlotRef:
                self.pictures.give(image)
                return
            self.finish()
        found = tuple(values[place] for place in self.places)
        some = any(value is not None for value in found)
        entry = entry_of(self.head, Kind.FRAME if some else Kind.BOUND, found if some else ())
        packed = self.edge.pack(entry, self.room)
        if packed is not None:
            self.edge.send(packed)
        if self.pictures is not None:
            self.pictures.begin()

    def finish(self) -> None:
        if self.pictures is not None:
            self.edge.block.words[self._in] += self.pictures.finish()

    def settle(self, changes: dict[int, int]) -> None:
        self.edge.note()
        changes[self._turn], changes[self._settled] = self.edge.turn, self.edge.block.words[self._in]


class Straight:
    """The common path of a chain; `of` gives it where the chain has one."""

    def __init__(self, chain: ChainRunner) -> None:
        self.chain = chain
        self.source: SourceStage | None = chain.source
        self.block: Block = chain.block
        self._head_array = np.zeros(HEAD_WORDS, np.int64)
        self.head: Any = memoryview(self._head_array.data)
        address = self._head_array.ctypes.data
        self.way_in: _FramesIn | None = None
        for edge, places in chain.frames_in:
            receiver = edge.links[0]
            assert isinstance(receiver, RingReceiver)
            self.way_in = _FramesIn(edge, receiver, list(places), self.head, address)
        self.ways_out: list[_FramesOut] = []
        for gate in chain.gates:
            for out, out_places, room in gate.edges:
                sender = out.links[0].sender
                assert isinstance(sender, RingSender)
                self.ways_out.append(_FramesOut(out, sender, out_places, room, self.head, address))
        key = f"chain:{chain.chain.id}"
        self._state, self._next_seq, self._last_pts = (
            self.block.layout.index.get(f"{key}.{name}", -1) for name in ("state", "next_seq", "last_pts")
        )
        if self.source is not None:
            self.head[STREAM] = chain.streams.index(self.source.stream.name)
        self._targets = [sink.target for sink in chain.sinks if isinstance(sink.target, ResultsTarget)]
        self._sinks = [(sink, sink.place) for sink in chain.sinks]
        self._shot: Shot | None = None

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
        return cls(chain)

    def _usable(self) -> bool:
        """Whether the chain has nothing in hand that comes before the next frame."""
        chain = self.chain
        if chain.ended or chain.stopped or (self.way_in is not None and not self.way_in.idle()):
            return False
        for way in self.ways_out:
            if not way.idle():
                return False
        for gate in chain.gates:  # noqa: SIM110 - asked for every round, where a generator costs more than the question
            if gate.pending:
                return False
        return True

    def run(self) -> bool | None:
        """Passes on what has come, settled; whether anything moved. None when the chain itself must look."""
        chain, way_in, block = self.chain, self.way_in, self.block
        if not self._usable():
            return None
        frames, rare, room = 0, False, MOST_FRAMES
        started = time.monotonic_ns()
        block.begin()
        try:
            if self._targets:
                self._take_in_results()
            for way in self.ways_out:
                room = min(room, way.begin())
            if way_in is not None:
                way_in.begin()
            ready = True
            while frames < room and not rare:
                ready = self._ready()
                if not ready:
                    break
                values: list[Any] = [None] * chain.size
                if way_in is None:
                    found = self._shoot(values)
                    rare = chain.ended
                else:
                    found = way_in.next(values)
                    rare = way_in.rare
                if not found:
                    room = MOST_FRAMES
                    break
                self._pass(values)
                frames += 1
                if chain.stopped or time.monotonic_ns() - started > LONGEST_NS:
                    room = MOST_FRAMES
                    break
            chain.blocked = frames >= room or not ready
            rare = rare or (chain.blocked and chain.thins and not frames)
        finally:
            self._settle(frames)
            block.end()
        if way_in is not None:
            way_in.acknowledge()
        return True if frames else (None if rare else False)

    def _take_in_results(self) -> None:
        for sink, _ in self._sinks:
            sink.poll()
        if self.chain.settling:
            self.chain.settle()

    def _ready(self) -> bool:
        """Whether there is memory for a frame, and sinks that take its results."""
        chain = self.chain
        if self._targets and (len(chain.settling) >= MOST_FRAMES or not all(target.ready() for target in self._targets)):
            return False
        return chain.pools.ready()

    def _shoot(self, values: list[Any]) -> bool:
        """The source's next frame."""
        chain, source, block = self.chain, self.source, self.block
        assert source is not None
        if not (chain.go or source.draining):
            return False
        block.end()  # reading may take as long as a frame takes to come: the ledger must be readable meanwhile
        try:
            shot = source.take()
        finally:
            block.begin()
        if shot is None:
            chain.pools.end_frame()
            chain.ended = source.ended
            return False
        values[chain.source_place] = shot.image
        self._shot = shot
        head = self.head
        head[FLAGS], head[EPOCH], head[SEQ], head[PTS] = 0, 0, shot.seq, shot.pts_ns
        head[TIME], head[CAPTURE] = -1 if shot.time_ns is None else shot.time_ns, shot.mono_ns
        return True

    def _pass(self, values: list[Any]) -> None:
        """One frame through the nodes and out."""
        chain, head = self.chain, self.head
        if chain.nodes or self._sinks:
            self._run(values)
        for way in self.ways_out:
            way.give(values)
        chain.pools.end_frame()
        if self._shot is not None and self.source is not None:
            chain.release_shot(self._shot)
            self.source.published(self._shot)
        head[FLAGS] = 0

    def _run(self, values: list[Any]) -> None:
        chain, head = self.chain, self.head
        stream, time_ns = head[STREAM], head[TIME]
        name = chain.streams[stream]
        frame = Frame(name, head[SEQ], head[PTS], head[EPOCH], None if time_ns < 0 else time_ns)
        flags = head[FLAGS] & RESET
        for node in chain.nodes:
            if not node.run(frame, stream, values) and node.node.on_error == "stop":
                chain.fail(node)
            if node.was_reset:
                flags |= RESET
                node.was_reset = False
        head[FLAGS] = flags
        for _, place in self._sinks:
            if values[place] is not None or flags:
                chain.write(entry_of(head), name, values)
                break

    def _settle(self, frames: int) -> None:
        """Everything so far is published: what a successor needs to know, in one piece.

        Results that our caller has not got yet, and what comes after them, the chain settles when they have arrived.
        """
        chain, block, way_in, head = self.chain, self.block, self.way_in, self.head
        for way in self.ways_out:
            way.finish()
        if way_in is not None:
            way_in.finish(frames)
        if not frames:
            return
        chain.last_head = tuple(head)
        state = chain.save() if chain.state_area is not None else None
        if chain.settling or any(target.sender.durable < target.turn for target in self._targets):
            taken = [] if way_in is None else [way_in.edge.mark()]
            given = [way.edge.mark() for way in self.ways_out]
            results = [(target, target.turn) for target in self._targets]
            chain.settling.append(Settlement(taken, given, results, head[SEQ] + 1, head[PTS], state))
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
            changes[self._next_seq], changes[self._last_pts] = head[SEQ] + 1, head[PTS]
        if way_in is not None:
            way_in.settle(changes)
        block.commit(changes)


def entry_of(head: Sequence[int], kind: Kind = Kind.FRAME, values: tuple[Any, ...] = ()) -> Entry:
    """The entry with this head."""
    time_ns = None if head[TIME] < 0 else head[TIME]
    return Entry(kind, head[STREAM], head[EPOCH], head[SEQ], head[PTS], time_ns, head[CAPTURE], head[FLAGS], values)
