"""A chain's common path: frames one after another from one source or one ring, through the nodes, into rings.

What is rare is left to the chain: bounds, ends, frames set aside, replicas, joins, entries that do not decode, frames that thin out. Both
work on the same links, counters and settlements, so either can take the next frame. The gain is in what frames share: one look at each
link, one settlement, one acknowledgement; and in pictures, which cross a link in one native step.

After a pause a processor has forgotten what a frame needs, and each call costs a frame some microseconds: hence few calls, and long ones.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from devices import kernels
from devices.kernels.links import CAPTURE, COUNT, EPOCH, FLAGS, HEAD_WORDS, NOTHING, PTS, SEQ, STREAM, TIME, TURN
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
        self.counts = tuple(index(f"{edge.key}.{name}") for name in ("in", "out", "turn", "settled"))

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

    def position(self) -> tuple[int, int]:
        """Entries taken from the ring so far, and the turn of the next."""
        if self.pictures is not None:
            return self.pictures.words[COUNT], self.pictures.words[TURN]
        return self.receiver.taken, self.edge.next_turn

    def hand_back(self) -> None:
        if self.pictures is not None:
            self.pictures.hand_back()

    def take_over(self) -> None:
        self.rare = False
        if self.pictures is not None:
            self.pictures.take_over()


class _FramesOut:
    """A ring that frames go to."""

    def __init__(self, edge: OutEdge, sender: RingSender, places: Sequence[int], room: Sequence[Place], head: Any, address: int) -> None:
        self.edge, self.sender, self.places, self.room_for, self.head = edge, sender, places, room, head
        self.link = edge.links[0]
        self.pictures = edge.pictures = PicturesOut(edge, sender, address) if carries_pictures(edge) else None
        index = edge.block.index
        self.counts = tuple(index(f"{edge.key}.{name}") for name in ("in", "in_flight", "turn", "settled"))

    def idle(self) -> bool:
        edge = self.edge
        return self.link.sender is self.sender and not (edge.recovering or edge.stopped) and edge.turn >= self.sender.durable

    def room(self) -> int:
        """How many frames may be sent."""
        if self.link.unacked or self.pictures is None:
            self.edge.poll()
        if self.pictures is not None:
            return self.pictures.room()
        return self.edge.credits - len(self.link.unacked)

    def give(self, values: list[Any]) -> None:
        """Sends the frame's values, or a bound when there are none."""
        pictures = self.pictures
        if pictures is not None:
            image = values[self.places[0]]
            if type(image) is Image and type(image.slot) is SlotRef:
                pictures.give(image)
                return
            self._count()
            pictures.hand_back()
        found = tuple(values[place] for place in self.places)
        some = any(value is not None for value in found)
        entry = entry_of(self.head, Kind.FRAME if some else Kind.BOUND, found if some else ())
        packed = self.edge.pack(entry, self.room_for)
        if packed is not None:
            self.edge.send(packed)
        if pictures is not None:
            pictures.take_over()

    def _count(self) -> None:
        if self.pictures is not None:
            self.edge.block.words[self.counts[0]] += self.pictures.count()

    def finish(self) -> int:
        """Counts what was given; the turn of the next."""
        self._count()
        if self.pictures is None or self.link.unacked:
            self.edge.note()
        else:
            self.edge.block.words[self.counts[1]] = self.pictures.under_way()
        turn: int = self.edge.turn if self.pictures is None else self.pictures.words[TURN]
        return turn

    def stirs(self) -> bool:
        """Whether the consumer has finished with something."""
        return self.sender.stirs() if self.pictures is None else self.pictures.reap()

    def hand_back(self) -> None:
        if self.pictures is not None:
            self._count()
            self.pictures.hand_back()

    def take_over(self) -> None:
        if self.pictures is not None:
            self.pictures.take_over()


class Straight:
    """The common path of a chain; `of` gives it where the chain has one."""

    def __init__(self, chain: ChainRunner) -> None:
        self.chain = chain
        self.source: SourceStage | None = chain.source
        self.block: Block = chain.block
        self.active = False
        """Whether we, and not the chain, know how far the links are."""
        self._head_array = np.zeros(HEAD_WORDS, np.int64)
        self.head: Any = self._head_array.data
        address = self._head_array.ctypes.data
        self.way_in: _FramesIn | None = None
        for edge, places in chain.frames_in:
            receiver = edge.links[0]
            assert isinstance(receiver, RingReceiver)
            self.way_in = _FramesIn(edge, receiver, places, self.head, address)
        self.ways_out: list[_FramesOut] = []
        for gate in chain.gates:
            for out, out_places, room in gate.edges:
                sender = out.links[0].sender
                assert isinstance(sender, RingSender)
                self.ways_out.append(_FramesOut(out, sender, out_places, room, self.head, address))
        if self.source is not None:
            self.head[STREAM] = chain.streams.index(self.source.stream.name)
        self._targets = [sink.target for sink in chain.sinks if isinstance(sink.target, ResultsTarget)]
        self._sinks = [(sink, sink.place) for sink in chain.sinks]
        self._shot: Shot | None = None
        self._gates = [gate for gate in chain.gates if gate.thinning]
        self._limited = bool(self._targets) or chain.pools.owns()
        self._prepare_settling()

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

    # ---- who counts

    def take_over(self) -> bool:
        """From here on we know how far the links are, if the chain has nothing in hand that comes before the next frame."""
        chain, way_in = self.chain, self.way_in
        if chain.ended or chain.stopped or any(gate.pending for gate in chain.gates) or not all(way.idle() for way in self.ways_out):
            return False
        if way_in is not None:
            edge = way_in.edge
            if edge.queue or edge.early or edge.ended or edge.abandoned:
                return False
            way_in.take_over()
        for way in self.ways_out:
            way.take_over()
        self.active = True
        return True

    def hand_back(self) -> None:
        """From here on the chain knows."""
        if self.active:
            self.active = False
            if self.way_in is not None:
                self.way_in.hand_back()
            for way in self.ways_out:
                way.hand_back()

    def stirs(self, *, room: bool) -> bool:
        """Whether a link has something new; `room`: also of what consumers have finished with."""
        way_in = self.way_in
        if way_in is not None and self._observe(way_in.receiver.tail_word) != way_in.position()[0]:
            return True
        return room and any(way.stirs() for way in self.ways_out)

    # ---- frames

    def run(self) -> bool | None:
        """Passes on what has come, settled; whether anything moved. None when the chain itself must look."""
        chain, way_in, ways_out, words = self.chain, self.way_in, self.ways_out, self.block.words
        if not self.active and not self.take_over():
            return None
        frames, room, limited, blocked = 0, MOST_FRAMES, self._limited, False
        words[0] += 1  # the ledger's change begins
        started = time.monotonic_ns()
        try:
            for target in self._targets:
                if target.waiting or not target.greeted:
                    self._take_in_results()
                    break
            for way in ways_out:
                room = min(room, way.room())
            while self.active:
                blocked = frames >= room or (limited and not self._ready())
                if blocked:
                    break
                values: list[Any] = [None] * chain.size
                if not (self._shoot(values) if way_in is None else way_in.next(values)):
                    break
                if chain.nodes or self._sinks:
                    self._run(values)
                for way in ways_out:
                    way.give(values)
                frames += 1
                if limited:
                    chain.pools.end_frame()
                if way_in is None:
                    self._published()
                if chain.stopped or time.monotonic_ns() - started > LONGEST_NS:
                    break
            chain.blocked = blocked
        finally:
            if frames:
                self._settle(frames)
            words[0] += 1
        if chain.ended or chain.stopped or (way_in is not None and way_in.rare) or (blocked and chain.thins):
            self.hand_back()
            return True if frames else None
        return frames > 0

    def _take_in_results(self) -> None:
        for sink, _ in self._sinks:
            sink.poll()
        if self.chain.settling:
            self.hand_back()
            self.chain.settle()
            for inbound in self.chain.inbound:
                inbound.acknowledge()
            self.take_over()

    def _ready(self) -> bool:
        """Whether there is memory for a frame, and sinks that take its results."""
        chain = self.chain
        if self._targets and (len(chain.settling) >= MOST_FRAMES or not all(target.ready() for target in self._targets)):
            return False
        return chain.pools.ready()

    def _shoot(self, values: list[Any]) -> bool:
        """The source's next frame."""
        chain, source, words, head = self.chain, self.source, self.block.words, self.head
        assert source is not None
        if not (chain.go or source.draining):
            return False
        words[0] += 1  # reading may take as long as a frame takes to come: the ledger must be readable meanwhile
        try:
            shot = source.take()
        finally:
            words[0] += 1
        if shot is None:
            chain.pools.end_frame()
            chain.ended = source.ended
            return False
        values[chain.source_place] = shot.image
        self._shot = shot
        head[SEQ], head[PTS], head[CAPTURE] = shot.seq, shot.pts_ns, shot.mono_ns
        head[TIME] = -1 if shot.time_ns is None else shot.time_ns
        return True

    def _published(self) -> None:
        assert self._shot is not None
        assert self.source is not None
        self.chain.release_shot(self._shot)
        self.source.published(self._shot)
        self.head[FLAGS] = 0

    def _run(self, values: list[Any]) -> None:
        """One frame through the nodes and into the sinks."""
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

    # ---- settlement

    def _prepare_settling(self) -> None:
        """The words that a settlement changes, in the order in which `_settle` fills them in."""
        functions = kernels.functions()
        self._commit, self._observe = functions["ace_commit"], functions["ace_observe"]
        key, index = f"chain:{self.chain.chain.id}", self.block.index
        changed = [index(f"{key}.state")] if self.chain.state_area is not None else []
        if self.source is not None:
            changed += [index(f"{key}.next_seq"), index(f"{key}.last_pts")]
        if self.way_in is not None:
            changed += self.way_in.counts[2:]
        for way in self.ways_out:
            changed += way.counts[2:]
        self._changes_array = np.zeros(2 * len(changed), np.int64)
        self._changes_array[::2] = changed
        self._changes: Any = self._changes_array.data
        self._commit_what = self.block.journal_address, self.block.words_address, self._changes_array.ctypes.data, len(changed)

    def _settle(self, frames: int) -> None:
        """Everything so far is published: what a successor needs to know, in one piece.

        Results that our caller has not got yet, and what comes after them, the chain settles when they have arrived.
        """
        chain, block, way_in, head, changes = self.chain, self.block, self.way_in, self.head, self._changes
        words = block.words
        chain.last_head = tuple(head)
        for target in self._targets:
            if target.sender.durable < target.turn:
                self._settle_later(frames)
                return
        if chain.settling:
            self._settle_later(frames)
            return
        place = 1
        if chain.state_area is not None:
            state = chain.save()
            number = words[changes[0]] + 1
            if state:
                block.save_state(chain.state_area, number, state)
            changes[place] = number
            place += 2
        if self.source is not None:
            changes[place], changes[place + 2] = head[SEQ] + 1, head[PTS]
            place += 4
        count = 0
        if way_in is not None:
            taken, out, _, _ = way_in.counts
            words[taken] += frames
            words[out] += frames
            count, turn = way_in.position()
            way_in.edge.settled_turn = changes[place] = turn
            changes[place + 2] = words[taken]
            place += 4
        for way in self.ways_out:
            changes[place], changes[place + 2] = way.finish(), words[way.counts[0]]
            place += 4
        self._commit(*self._commit_what)
        if way_in is not None:
            way_in.receiver.finish(count)

    def _settle_later(self, frames: int) -> None:
        """What has happened waits, in order, until results have arrived."""
        chain, way_in, head = self.chain, self.way_in, self.head
        state = chain.save() if chain.state_area is not None else None
        if way_in is not None:
            taken, out, _, _ = way_in.counts
            self.block.words[taken] += frames
            self.block.words[out] += frames
        for way in self.ways_out:
            way.finish()
        self.hand_back()
        marks_in = [] if way_in is None else [way_in.edge.mark()]
        marks_out = [way.edge.mark() for way in self.ways_out]
        results = [(target, target.turn) for target in self._targets]
        chain.settling.append(Settlement(marks_in, marks_out, results, head[SEQ] + 1, head[PTS], state))
        self.take_over()


def entry_of(head: Sequence[int], kind: Kind = Kind.FRAME, values: tuple[Any, ...] = ()) -> Entry:
    """The entry with this head."""
    time_ns = None if head[TIME] < 0 else head[TIME]
    return Entry(kind, head[STREAM], head[EPOCH], head[SEQ], head[PTS], time_ns, head[CAPTURE], head[FLAGS], values)
