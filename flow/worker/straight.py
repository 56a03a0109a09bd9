"""A chain's common path: frames one after another from one source or one edge, through the nodes, into rings.

What is rare is left to the chain: bounds, ends, frames set aside, joins, entries that do not decode, frames that thin out. Both
work on the same links, counters and settlements, so either can take the next frame. The gain is in what frames share: one look at each
link, one settlement, one acknowledgement; and in pictures, which cross a link in one native step.

After a pause a processor has forgotten what a frame needs, and each call costs a frame some microseconds: hence few calls, and long ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from devices.kernels import books as at
from devices.kernels.links import CAPTURE, EPOCH, FLAGS, HEAD_WORDS, NOTHING, PTS, SEQ, STREAM, TIME
from flow.entry import RESET
from flow.ledger import Block
from flow.link.ring import RingReceiver, RingSender
from flow.worker.books import Books
from flow.worker.live import LiveSource
from flow.worker.node import AbsentNode, NodeRunner
from flow.worker.settlement import Settlement
from flow.worker.shots import Shots
from flow.worker.sinks import ResultsTarget
from flow.worker.source import Shot, SourceStage, WaitingSource
from flow.worker.ways import FramesIn, FramesOut
from ops.value import Frame

if TYPE_CHECKING:
    from flow.worker.alone import Alone
    from flow.worker.chain import ChainRunner

MOST_FRAMES = 16
"""Frames that share a settlement."""
LONGEST_NS = 200_000
"""After so long those that wait for a settlement get it."""
new_tuple = tuple.__new__


def steps(nodes: Sequence[NodeRunner | AbsentNode]) -> list[tuple[NodeRunner | AbsentNode, int, bool]]:
    """Each node with the number of the one that is entered as it is left (-1: none), and whether it is itself entered so."""
    follows = [isinstance(one, NodeRunner) and isinstance(other, NodeRunner) for one, other in pairwise(nodes)]
    thens = [other.number if follow else -1 for other, follow in zip(nodes[1:], follows, strict=True)]
    return list(zip(nodes, [*thens, -1], [False, *follows], strict=True)) if nodes else []


class Straight:
    """The common path of a chain; `of` gives it where the chain has one."""

    def __init__(self, chain: ChainRunner) -> None:
        self.chain = chain
        self.source: SourceStage | None = chain.source
        self.block: Block = chain.block
        self.active = False
        """Whether we, and not the chain, know how far the links are."""
        self._before: tuple[int, ...] = ()
        """The head when we took over."""
        self._head_array = np.zeros(HEAD_WORDS, np.int64)
        self.head: Any = self._head_array.data
        address = self._head_array.ctypes.data
        self.way_in: FramesIn | None = None
        for edge, places in chain.frames_in:
            self.way_in = FramesIn(edge, places, self.head, address)
        self.ways_out: list[FramesOut] = []
        for gate in chain.gates:
            for out, out_places, room in gate.edges:
                self.ways_out.append(FramesOut(out, out_places, room, self.head, address))
        self._live = isinstance(self.source, LiveSource)
        self.waiting = self.source if isinstance(self.source, WaitingSource) else None
        self._due: Callable[[], bool] = self.source.due if self.source is not None else self.way_in.question()  # type: ignore[union-attr]
        if self.source is not None:
            self.head[STREAM], self.head[EPOCH] = chain.streams.index(self.source.stream.name), chain.epoch
        self._targets = [sink.target for sink in chain.sinks if isinstance(sink.target, ResultsTarget)]
        self._sink_places = [sink.place for sink in chain.sinks]
        self._shot: Shot | None = None
        self.limited = bool(self._targets) or chain.pools.owns()
        self.frames = 0
        """Passed on and not settled yet."""
        self.alone: Alone | None = None
        """For a worker that has no other chain."""
        self.pictures = self.way_in.pictures if self.way_in is not None else None
        self._empty: list[Any] = [None] * chain.size
        self._place = self.way_in.places[0] if self.way_in is not None else -1
        self._nodes = bool(chain.nodes or chain.sinks)
        self._steps = steps(chain.nodes)
        self.books = Books(chain, self.way_in, self.ways_out, address)
        self._shots = None
        if self.waiting is not None and self.ways_out and not self._nodes:
            self._shots = Shots(chain, self.waiting, self.ways_out, self.books)

    @classmethod
    def of(cls, chain: ChainRunner) -> Straight | None:
        """None for a chain of another shape: with a join, other links than rings, frames to set aside, or a sample of them to give."""
        if (
            not all(isinstance(link.sender, RingSender) for edge in chain.outbound for link in edge.links)
            or not all(isinstance(link, RingReceiver) for edge in chain.inbound for link in edge.links)
            or len(chain.inbound) + (chain.source is not None) != 1
            or chain.poison
            or any(gate.sample is not None for gate in chain.gates)
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
        self._before = tuple(self.head)
        self.books.quick = False
        self.active = True
        return True

    def hand_back(self) -> None:
        """From here on the chain knows."""
        if self.active:
            self.active = False
            if (last := tuple(self.head)) != self._before:
                self.chain.last_head = last
            with self.block.change():
                if self.way_in is not None:
                    self.way_in.hand_back()
                for way in self.ways_out:
                    way.hand_back()

    def stirs(self, *, room: bool) -> bool:
        """Whether a link has something new; `room`: also of what consumers have finished with. While it is room that we lack, frames that
        have come are no news.
        """
        way_in = self.way_in
        if way_in is not None and not self.chain.blocked and way_in.stirs():
            return True
        return room and (any(way.stirs() for way in self.ways_out) or any(target.stirs() for target in self._targets))

    def due(self) -> bool:
        """Whether `run` may have something to do. Where many chains share a worker, most have nothing, and asking them is cheap."""
        if not self.active or self.chain.blocked:
            return True
        for target in self._targets:
            if not target.settled():
                return True
        return self._due()

    # ---- frames

    def run(self) -> bool | None:
        """Passes on what has come, settled; whether there may be more at once. None when the chain itself must look."""
        chain = self.chain
        if not self.active and not self.take_over():
            return None
        if self._shots is not None and (most := self._shots.most()) > 0:
            more = self._shots.run(most)
            if chain.ended or chain.stopped or (chain.blocked and chain.thins):
                self.hand_back()
                return True if more else None
            return more
        self.frames = 0
        for target in self._targets:
            if not target.settled():
                with self.block.change():
                    self._take_in_results()
                break
        if self.waiting is not None and (most := self.waiting.fillable()) > 0 and chain.go:
            more = self._filled_pass(self.waiting, most)
        else:
            more = self._counted_pass()
        if chain.ended or chain.stopped or (self.way_in is not None and self.way_in.rare) or (chain.blocked and chain.thins):
            self.hand_back()
            return True if self.frames else None
        return more

    def _counted_pass(self) -> bool:
        """Passes on what has come, in one change of the ledger; whether there may be more at once."""
        words = self.block.words
        words[0] += 1
        try:
            return self._pictures_pass(self._room()) if self.pictures is not None else self._frames_pass(self._room())
        finally:
            if self.frames:
                self._settle(self.frames)
            words[0] += 1

    def settle_now(self, *, opens: bool = False) -> int:
        """Settles what was passed on, in the ledger's change that is open (unless it `opens` one); how many frames may come then."""
        words = self.block.words
        words[0] += opens
        try:
            if self.frames:
                self._settle(self.frames)
            self.frames = 0
            self.chain.blocked = not self.active or (self.limited and not self._ready())
            return 0 if self.chain.blocked else self._room()
        finally:
            words[0] += 1

    def _room(self) -> int:
        """How many frames there is room for, of as many as are settled together."""
        room = MOST_FRAMES
        for way in self.ways_out:
            room = min(room, way.room())
        return room

    def picture_pass(self, found: int) -> None:
        """A picture that was taken from a ring."""
        pictures, chain = self.pictures, self.chain
        assert pictures is not None
        values = self._empty.copy()
        values[self._place] = image = pictures.images.get(found) or pictures.picture(found)
        ref = image.slot
        ref.generation = ref.pool.generations[ref.slot]
        if self._nodes:
            self._run_head(values)
        yields = 0
        for way in self.ways_out:
            yields |= way.give(values)
        if yields:
            os.sched_yield()
        self.frames += 1
        if chain.pools.taken:
            chain.pools.end_frame()

    def _pictures_pass(self, room: int) -> bool:
        """Pictures from a ring, as many as have come and there is room for; whether there may be more."""
        chain, pictures, limited = self.chain, self.pictures, self.limited
        assert pictures is not None
        started = monotonic_ns()
        while self.active:
            chain.blocked = self.frames >= room or (limited and not self._ready())
            if chain.blocked:
                return self.frames >= MOST_FRAMES
            found = pictures.take_entry()
            if found < 0:
                if found != NOTHING and self.way_in is not None:
                    self.way_in.rare = True
                return False
            self.picture_pass(found)
            if chain.stopped or monotonic_ns() - started > LONGEST_NS:
                return True
        return False

    def _frames_pass(self, room: int) -> bool:
        """The same for a source, and for frames that are no single picture."""
        chain, way_in, limited, nodes, live = self.chain, self.way_in, self.limited, self._nodes, self._live
        pools, ways_out, empty = chain.pools, self.ways_out, [None] * chain.size
        frames = 0
        started = monotonic_ns()
        while self.active:
            if live and frames and not self._due():
                return False
            chain.blocked = frames >= room or (limited and not self._ready())
            if chain.blocked:
                return frames >= MOST_FRAMES
            values: list[Any] = empty.copy()
            if not (self._shoot(values) if way_in is None else way_in.next(values)):
                return False
            if nodes:
                self._run_head(values)
            for way in ways_out:
                way.give(values)
            frames += 1
            self.frames = frames
            if pools.taken:
                pools.end_frame()
            if way_in is None:
                self._published()
            if chain.stopped or monotonic_ns() - started > LONGEST_NS:
                return True
        return False

    def _filled_pass(self, source: WaitingSource, most: int) -> bool:
        """The same for `most` frames of a source that writes its pictures where consumers read them.

        A picture may take as long as frames are apart: the ledger is readable meanwhile. It changes while frames are given only where an
        edge sends entries itself.
        """
        chain, words, head, limited, books = self.chain, self.block.words, self.head, self.limited, self.books
        pools, ways_out, place, empty, run = chain.pools, self.ways_out, chain.source_place, self._empty, self._run
        stream, epoch, name, next_frame, fresh = head[STREAM], head[EPOCH], source.stream.name, source.next, pools.owns()
        changes = 0 if books.quick or (not chain.settling and books.begin()) else 1
        words[0] += 1
        room = self._room()
        words[0] += 1
        frames, found, image, last = 0, None, None, (0, 0, 0, 0)
        started = monotonic_ns()
        try:
            while self.active and frames < most:
                if frames >= room or (limited and not self._ready()):
                    chain.blocked = True
                    return frames >= MOST_FRAMES
                chain.blocked = False
                if fresh or image is None:
                    image = source.room()
                found = next_frame(image)
                if found is None:
                    pools.end_frame()
                    chain.ended = True
                    return False
                seq, pts_ns, capture_ns, time_ns = found
                values: list[Any] = empty.copy()
                values[place] = image
                if ways_out:
                    words[0] += changes
                    head[SEQ], head[PTS], head[CAPTURE], head[TIME] = found
                if self._nodes:
                    frame = new_tuple(Frame, (name, seq, pts_ns, epoch, None if time_ns < 0 else time_ns))
                    head[FLAGS] = run(values, frame, stream, 0, capture_ns)
                for way in ways_out:
                    way.give(values)
                if pools.taken:
                    pools.end_frame()
                if ways_out:
                    words[0] += changes
                frames, last = frames + 1, found
                if chain.stopped or monotonic_ns() - started > LONGEST_NS:
                    return True
            return self.active
        finally:
            if frames:
                self.frames = frames
                books.words[at.SHOTS] = frames
                head[SEQ], head[PTS], head[CAPTURE], head[TIME] = last
                words[0] += 1
                self._settle(frames)
                words[0] += 1
                head[FLAGS] = 0

    def _take_in_results(self) -> None:
        for sink in self.chain.sinks:
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
        shot, source = self._shot, self.source
        assert shot is not None
        assert source is not None
        if self._live:
            self.chain.release_shot(shot)
        source.gone()
        self.head[FLAGS] = 0

    def _run_head(self, values: list[Any]) -> None:
        """The frame whose head stands there through the nodes and into the sinks."""
        flags, stream, epoch, seq, pts, time_ns, capture_ns = self.head
        frame = new_tuple(Frame, (self.chain.streams[stream], seq, pts, epoch, None if time_ns < 0 else time_ns))
        self.head[FLAGS] = self._run(values, frame, stream, flags & RESET, capture_ns)

    def _run(self, values: list[Any], frame: Frame, stream: int, flags: int, capture_ns: int) -> int:
        """One frame through the nodes and into the sinks; its flags then."""
        chain = self.chain
        for node, then, entered in self._steps:
            if not node.run(frame, stream, values, then, entered=entered) and node.node.on_error == "stop":
                chain.fail(node)
            if node.was_reset:
                flags |= RESET
                node.was_reset = False
        for place in self._sink_places:
            if values[place] is not None or flags:
                chain.write(frame, flags, capture_ns, values)
                break
        return flags

    # ---- settlement

    def _settle(self, frames: int) -> None:
        """Everything so far is published: what a successor needs to know, in one piece.

        Results that there is no room for yet, and what comes after them, the chain settles when they are published.
        """
        chain = self.chain
        if chain.state_area is not None:
            chain.last_head = tuple(self.head)
        for target in self._targets:
            if not target.settled():
                self._settle_later(frames)
                return
        if chain.settling:
            self._settle_later(frames)
            return
        self.books.settle(frames)
        if not self.active and self.way_in is not None:  # handed back amid these frames
            self.way_in.hand_back()

    def _settle_later(self, frames: int) -> None:
        """What has happened waits, in order, until results are published."""
        chain, way_in, head = self.chain, self.way_in, self.head
        state = chain.save() if chain.state_area is not None else None
        if way_in is not None:
            taken, out, _, _ = way_in.counts
            self.block.words[taken] += frames
            self.block.words[out] += frames
        for way in self.ways_out:
            way.finish()
        self.books.count_shots()
        self.hand_back()
        marks_in = [] if way_in is None else [way_in.edge.mark()]
        marks_out = [way.edge.mark() for way in self.ways_out]
        results = [(target, target.rows.given) for target in self._targets]
        chain.settling.append(Settlement(marks_in, marks_out, results, head[SEQ] + 1, head[PTS], state))
        self.take_over()
