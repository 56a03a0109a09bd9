"""The two ends of a chain's common path: the ring that frames come from, and the rings that they go to."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from devices.kernels.links import CAPTURE, COUNT, EPOCH, FLAGS, PTS, SEQ, STREAM, TIME, TURN
from flow.entry import HEAD, ITEM, Entry, EntryError, Kind, Place
from flow.link.ring import RECORD, RingReceiver, RingSender
from flow.pool import PoolError, SlotRef
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from flow.worker.pictures import PicturesIn, PicturesOut, carries_pictures
from ops.value import Image

START = struct.Struct(RECORD.format + HEAD.format.lstrip("<"))
"""A record of a ring, and the head of the entry in it."""
FRAME = int(Kind.FRAME)


def entry_of(head: Sequence[int], kind: Kind = Kind.FRAME, values: tuple[Any, ...] = ()) -> Entry:
    """The entry with this head."""
    time_ns = None if head[TIME] < 0 else head[TIME]
    return Entry(kind, head[STREAM], head[EPOCH], head[SEQ], head[PTS], time_ns, head[CAPTURE], head[FLAGS], values)


class FramesIn:
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


class FramesOut:
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
        return self.sender.stirs() if self.pictures is None else self.pictures.stirs()

    def hand_back(self) -> None:
        if self.pictures is not None:
            self._count()
            self.pictures.hand_back()
            self.edge.note()

    def take_over(self) -> None:
        if self.pictures is not None:
            self.pictures.take_over()
