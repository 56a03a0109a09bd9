"""The two ends of a chain's common path: the rings that frames come from, and the rings that they go to."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import gcd
from typing import Any

from devices.kernels.links import CAPTURE, EPOCH, FLAGS, PTS, SEQ, STREAM, TIME, TURN
from flow.entry import HEAD, ITEM, Entry, EntryError, Kind, Place
from flow.link.ring import RECORD, RingReceiver, RingSender
from flow.pool import PoolError, SlotRef
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import Lane, OutEdge
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
    """The rings that frames come from: one, or one from each replica, which are heard in turn."""

    def __init__(self, edge: InEdge, places: list[int], head: Any, address: int) -> None:
        self.edge, self.places, self.head = edge, places, head
        self.receivers = [link for link in edge.links if isinstance(link, RingReceiver)]
        alone = len(self.receivers) == 1
        self.pictures = PicturesIn(edge, self.receivers[0], address) if alone and carries_pictures(edge) else None
        self.rare = False
        """Whether what comes next is not for the common path."""
        index = edge.block.index
        self.counts = tuple(index(f"{edge.key}.{name}") for name in ("in", "out", "turn", "settled"))

    def next(self, values: list[Any]) -> bool:
        """Puts the next frame's values into the table and its head into the head; False when there is none, or a rare one."""
        edge = self.edge
        producer = edge.next_turn % len(self.receivers)
        receiver = self.receivers[producer]
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
        edge.received[producer] = turn + 1
        edge.next_turn = turn + edge.replicas
        return True

    def question(self) -> Callable[[], bool]:
        """Whoever asks often whether the next entry has come calls this, which asks the link itself where there is but one."""
        return self.stirs if len(self.receivers) > 1 else (self.pictures or self.receivers[0]).stirs

    def stirs(self) -> bool:
        """Whether the next entry has come."""
        if self.pictures is not None:
            return self.pictures.stirs()
        return self.receivers[self.edge.next_turn % len(self.receivers)].stirs()

    def finish(self) -> None:
        """Tells producers that everything taken so far is finished with."""
        for receiver in self.receivers:
            receiver.finish(receiver.taken)

    def hand_back(self) -> None:
        if self.pictures is not None:
            self.pictures.hand_back()

    def take_over(self) -> None:
        self.rare = False
        if self.pictures is not None:
            self.pictures.take_over()


class FramesOut:
    """The rings that frames go to: one, or one to each replica, which are dealt to in turn."""

    def __init__(self, edge: OutEdge, places: Sequence[int], room: Sequence[Place], head: Any, address: int) -> None:
        self.edge, self.places, self.room_for, self.head = edge, places, room, head
        self.carries_pictures = carries_pictures(edge)
        self.rings = [link.sender for link in edge.links if isinstance(link.sender, RingSender)]
        self.round = len(edge.links) // gcd(len(edge.links), edge.replicas)
        """After so many frames it is the first link's turn again."""
        if self.carries_pictures:
            for link, ring in zip(edge.links, self.rings, strict=True):
                if link.pictures is None or link.pictures.sender is not ring:
                    link.pictures = PicturesOut(edge, ring)
                link.pictures.begin(address, self.round * edge.replicas)
        self._lane, self._only = edge.links[0], edge.links[0].pictures if len(edge.links) == 1 else None
        """The pictures' one way, where there is but one: it knows the turn, and a native step can settle it."""
        self.on_plain: Callable[[], None] = lambda: None
        """Called when the edge itself sends an entry."""
        index = edge.block.index
        self.counts = tuple(index(f"{edge.key}.{name}") for name in ("in", "in_flight", "turn", "settled"))

    def quick(self) -> bool:
        """Whether all that is under way was given on the common path, over one link: then a native step can settle it."""
        return self._only is not None and not self._lane.unacked

    def row(self) -> tuple[int, ...]:
        """What the native step must know of it, in the order of `devices.kernels.books`."""
        assert self._only is not None
        given, in_flight, turn, settled = self.counts
        return self._only.address, given, self._only.out_word, in_flight, turn, settled

    def describe(self, image: Image) -> None:
        """What travels beside a slot from now on."""
        assert self._only is not None
        self._only.describe(image)

    def _links(self) -> list[tuple[int, Lane]]:
        """The links that frames go to next, with their turns."""
        edge = self.edge
        turns = range(edge.turn, edge.turn + self.round * edge.replicas, edge.replicas)
        return [(turn, edge.links[turn % len(edge.links)]) for turn in turns]

    def idle(self) -> bool:
        edge = self.edge
        return not (edge.recovering or edge.stopped) and all(
            link.sender is ring and edge.turn >= ring.durable for link, ring in zip(edge.links, self.rings, strict=True)
        )

    def room(self) -> int:
        """How many frames may be sent."""
        if self._only is not None:
            if self._lane.unacked:
                self.edge.poll()
            return self._only.room()
        if not self.carries_pictures or any(link.unacked for link in self.edge.links):
            self.edge.poll()
        if self.round == 1:
            return self._room(self._links()[0][1])
        return min(self._room(link) * self.round + place for place, (_, link) in enumerate(self._links()))

    def _room(self, link: Lane) -> int:
        return self.edge.credits - len(link.unacked) if link.pictures is None else link.pictures.room()

    def give(self, values: list[Any]) -> int:
        """Sends the frame's values, or a bound when there are none; above 0 if who was woken for it should go first."""
        if self.carries_pictures:
            image = values[self.places[0]]
            if type(image) is Image and type(image.slot) is SlotRef:
                return self.give_picture(image)
            self.on_plain()
            with self.edge.block.change():
                self.hand_back()
                self._send(values)
                self.edge.note()
            self.take_over()
        else:
            self._send(values)
        return 0

    def _send(self, values: list[Any]) -> None:
        found = tuple([values[place] for place in self.places])
        some = any(value is not None for value in found)
        entry = entry_of(self.head, Kind.FRAME if some else Kind.BOUND, found if some else ())
        packed = self.edge.pack(entry, self.room_for)
        if packed is not None:
            self.edge.send(packed)

    def give_picture(self, image: Image) -> int:
        """Sends a picture that lies in a slot; gives what `give` does."""
        if self._only is not None:
            return self._only.give(image)
        edge = self.edge
        pictures = edge.links[edge.turn % len(edge.links)].pictures
        assert pictures is not None
        edge.turn += edge.replicas
        return pictures.give(image)

    def _count(self) -> None:
        if self._only is not None:
            self.edge.turn = self._only.words[TURN]
        given = sum(link.pictures.count() for link in self.edge.links if link.pictures is not None)
        self.edge.block.words[self.counts[0]] += given

    def finish(self) -> int:
        """Counts what was given; the turn of the next."""
        if self.carries_pictures:
            self._count()
        self.edge.note()
        return self.edge.turn

    def stirs(self) -> bool:
        """Whether a consumer has finished with something."""
        return any(
            ring.stirs() if link.pictures is None else link.pictures.stirs() for link, ring in zip(self.edge.links, self.rings, strict=True)
        )

    def hand_back(self) -> None:
        if self.carries_pictures:
            self._count()
            for _, link in self._links():
                assert link.pictures is not None
                link.pictures.hand_back()
            self.edge.note()

    def take_over(self) -> None:
        if self.carries_pictures:
            for turn, link in self._links():
                assert link.pictures is not None
                link.pictures.take_over(turn)
