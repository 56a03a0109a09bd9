"""How a chain that runs on goes over from one plan to the next: its last frame of the old plan, its first of the new one.

A source goes over with its first frame at or after the cut, every other chain with the first entry that carries the new epoch. What only
the old plan reads then hears of the end, as at the end of the stream, and finishes by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flow.entry import FINAL, Entry, Kind
from flow.plan.value import Plan, Ref
from flow.pool import SlotRef
from flow.worker.live import LiveSource
from flow.worker.out_edge import OutEdge
from flow.worker.settlement import Settlement
from flow.worker.setup import Passage
from flow.worker.source import Shot, SourceStage, WaitingSource

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner

NEVER = 1 << 62


class ChainPassage:
    """One chain between two plans. `begins`: edges of the new plan, with what they carry. `tell` speaks to the executor."""

    def __init__(
        self, chain: ChainRunner, passage: Passage, plan: Plan, begins: Sequence[tuple[OutEdge, tuple[Ref, ...]]], tell: Callable[..., None]
    ) -> None:
        self.chain, self.passage, self.plan, self.begins, self.tell = chain, passage, plan, begins, tell
        self.crossed = False
        chain.beside = [edge for edge, _ in begins]
        self.key = f"chain:{chain.chain.id}"
        self.at = self._recorded()
        """The cut, once it stands: where an earlier life went over, or where to go over."""
        self._from: int | None = None
        self._leads = self._told = self._waits = self._forced = False
        self._round = 0
        self._held: Shot | None = None
        self._borrowed: SlotRef | None = None
        self._early = self._untold = False
        """Whether a frame of the old plan has gone since the cut was told, and whether the first one after it is still to be told."""
        self._last: Settlement | None = None
        """What is to be noted of the last frame of the old plan."""
        found = passage.cuts.get(self._stream())
        if self.at is None and found is not None:
            if passage.halted:
                self._from, self._told = found, True
            else:
                self.at = found

    # ---- what the executor says

    def lead(self, at_least: int, number: int) -> None:
        """Stops before the next frame from `at_least` on, and says which that is."""
        self._from, self._leads, self._told, self._round = at_least, True, False, number

    def hold(self, start: int, number: int) -> None:
        """Stops before the first frame from `start` on that has not gone out yet; says how far it got."""
        self._from, self._leads, self._waits, self._round = start, False, False, number
        self._answer()

    def _answer(self) -> None:
        """Says how far it got, once that is known."""
        assert self._from is not None
        self._told = not self._owes()
        if self._told:
            last = self.last_sent()[1]
            self._from = max(self._from, last + 1)
            self.tell("held", stream=self._stream(), last=last, round=self._round)

    def _owes(self) -> bool:
        """Whether an earlier life sent frames of the old plan that were not sent again: consumers have them, so they are of that plan."""
        return any(
            link.sender is not None and edge.turn < link.sender.durable < NEVER for edge in self.chain.outbound for link in edge.links
        )

    def cut(self, at: int, *, halted: bool) -> None:
        """From `at` on frames belong to the new plan. `halted`: what a camera gave since it was stopped is lost to the switch."""
        recorded = self._recorded()
        self.at = at if recorded is None else recorded
        if halted and isinstance(self.chain.source, LiveSource):
            self.chain.source.let_go_for_switch(0 if self._held is None else 1)

    def back(self) -> None:
        """No cut: everything goes on in the old plan."""
        self._from, self._leads, self._waits, self.at = None, False, False, None

    def withdraw(self) -> None:
        """There will be no cut."""
        self.back()
        self._put_back()

    def _put_back(self) -> None:
        """A frame that waited is the source's next one again."""
        self.give_back()
        shot, source = self._held, self.chain.source
        if shot is not None and source is not None:
            self._go(shot)
            source.put_back(shot, self._borrowed)
            self._borrowed = None

    # ---- frames of a source

    def take(self, source: SourceStage) -> Shot | None:
        """The next frame that may go now; the chain goes over before the first of the new plan."""
        self.give_back()
        shot = self._held if self._held is not None else source.take()
        if shot is None:
            if self._from is not None and not self._leads and not self._told:
                self._answer()
            if source.ended and self._leads and not self._told:
                self._told = True
                self.tell("at", stream=self._stream(), pts=NEVER, round=self._round)
            elif self._forced and not source.ended and self._can_go_without():
                self._go_without()
            elif self._early and not self.crossed and not source.ended:
                self._go_early()
            return None
        if self.crossed:
            self._tell_first(shot.seq)
            return self._go(shot)
        if self._from is not None and not self._leads and not self._told:
            self._answer()
        if self._recorded() is None and self._owes():
            return self._go(shot)
        if self.at == 0 and self._from is None and isinstance(source, LiveSource) and self._recorded() is None and not self._early:
            self._early = True
            return self._go(shot)
        if self.at is not None and shot.pts_ns >= self.at:
            self._hold(shot)
            if any(gate.pending for gate in self.chain.gates) or not self.ready():
                self.chain.blocked = True
                return None
            self._cross(shot.pts_ns, shot.seq)
            return self._go(self._moved(shot, source))
        if self.at is None and self._from is not None and shot.pts_ns >= self._from:
            self._hold(shot)
            if self._leads and not self._told:
                self._told = True
                self.tell("at", stream=self._stream(), pts=shot.pts_ns, round=self._round)
            elif not self._leads and not self._waits:
                self._waits = True
                self.tell("waits", stream=self._stream())
            return None
        return self._go(shot)

    def _hold(self, shot: Shot) -> None:
        """Keeps a frame, and its slot, for later."""
        if self._held is None:
            self._held = shot
            ref = shot.image.slot
            if isinstance(ref, SlotRef) and isinstance(self.chain.source, WaitingSource):
                ref.pool.hold(ref)

    def _go(self, shot: Shot) -> Shot:
        """The frame goes now; what was held for it is given back after it."""
        if self._held is not None:
            ref = self._held.image.slot
            if isinstance(ref, SlotRef) and isinstance(self.chain.source, WaitingSource):
                self._borrowed = ref
            self._held = None
        return shot

    def give_back(self) -> None:
        """What was held for a frame that has gone."""
        if self._borrowed is not None:
            self._borrowed.pool.release(self._borrowed)
            self._borrowed = None

    def _moved(self, shot: Shot, source: SourceStage) -> Shot:
        """The frame in memory that readers of the new plan can see."""
        self.chain.pools.end_frame()
        return source.renewed(shot) or shot

    # ---- the passage itself

    def ready(self) -> bool:
        """Whether consumers of the new plan take a frame."""
        room = all(edge.edge.policy in ("latest", "drop_oldest") or edge.credit() for edge, _ in self.begins)
        return room and all(pool.can_acquire() for _, pool in self.chain.pools.coming)

    def may_pass(self, epoch: int) -> bool:
        """Whether an entry of this epoch may be taken now; the chain goes over before the first of the new plan."""
        if not self.crossed and epoch >= self.passage.epoch:
            if not self.ready():
                return False
            self.enter()
        return True

    def enter(self) -> None:
        """The next frame is the first of the new plan."""
        chain, ends = self.chain, set(self.passage.ends)
        self.crossed = True
        self._last = chain.settling[-1] if chain.settling else None
        chain.beside = []
        for edge in chain.outbound:
            if edge.edge.id in ends:
                if not chain.end_sent:
                    edge.end(self._end())
                chain.beside.append(edge)
        chain.pools.renew()
        if chain.source is not None:
            lease = chain.pools.at(Ref(chain.source.stream.address, "image"))
            chain.source.stale = lambda ref: lease.pool is not None and ref.pool is not lease.pool
        numbers = {edge.id: edge for edge in self.plan.edges}
        routes = [(edge, refs) for edge, refs in chain.routes if edge.edge.id not in ends] + [*self.begins]
        for edge, _ in routes:
            edge.edge = numbers[edge.edge.id]
        chain.route(routes)
        chain.epoch = self.passage.epoch
        nodes = {node.address: node for node in self.plan.nodes}
        for node in chain.nodes:
            node.node = nodes.get(node.node.address, node.node)
        sinks = {sink.id: sink for sink in self.plan.sinks}
        for writer in chain.sinks:
            writer.sink, writer.plan = sinks.get(writer.sink.id, writer.sink), self.passage.plan

    def force(self) -> None:
        """No frame may ever come: if there is none now, the chain goes over at once."""
        self._forced = True

    def _go_without(self) -> None:
        """Goes over without a frame, and tells consumers so; also those that have started anew since.

        Frames of others from before the cut need wait for none of ours: joins would not come to the new plan.
        """
        chain, (seq, pts) = self.chain, self.last_sent()
        self.finish()
        self._forced = False
        start = max(pts, (self.at or 0) - 1)
        if chain.notices is not None:
            chain.notices.send(start)
        elif seq >= 0 or self.at:
            bound = Entry(Kind.BOUND, chain.stream_index(), chain.epoch, seq, start, None, 0)
            for gate in chain.gates:
                gate.offer([bound] * len(gate.edges))

    def _can_go_without(self) -> bool:
        """Whether consumers could be told now. They may have frames that a source of files has to send again before."""
        notices = self.chain.notices
        return self.ready() and (notices is None or (notices.ready() and not self._owes()))

    def _go_early(self) -> None:
        """Goes over between two frames of a camera: what leaves ends, and what comes takes over from it, before the next one is there."""
        chain, (seq, pts) = self.chain, self.last_sent()
        if seq < 0 or any(gate.pending for gate in chain.gates) or not self.ready():
            return
        self._record(pts + 1, -1)
        self.enter()
        self._untold = True
        bound = Entry(Kind.BOUND, chain.stream_index(), chain.epoch, seq, pts, None, 0)
        begins = [edge for edge, _ in self.begins]
        for gate in chain.gates:
            if any(edge not in begins for edge, _, _ in gate.edges):  # they go over as well
                gate.offer([bound] * len(gate.edges))

    def _tell_first(self, seq: int) -> None:
        """The first frame of the new plan, or -1: there is none."""
        if self._untold:
            self._untold = False
            self.chain.block.set(f"{self.key}.cut_first", seq)
            self._tell_crossed()

    def finish(self) -> None:
        """No frame of the old plan comes any more."""
        self._tell_first(-1)
        if not self.crossed:
            if self.chain.source is not None:
                self._cross(self.last_sent()[1] + 1, -1)
            else:
                self.enter()
            if self.chain.end_sent:
                for edge, _ in self.begins:
                    edge.end(self._end())

    def over(self) -> bool:
        """Whether everything of the old plan is done with: by consumers, and for a successor of ours."""
        done = self.crossed and not any(one is self._last for one in self.chain.settling)
        return done and all(edge.settled() or edge.stopped for edge in self.chain.beside)

    def close(self) -> list[OutEdge]:
        """The new plan alone remains; gives edges that are gone."""
        self._put_back()
        if not self.crossed:
            self.enter()
        gone, self.chain.beside = self.chain.beside, []
        return gone

    def _end(self) -> Entry:
        return Entry(Kind.END, self.chain.stream_index(), self.chain.epoch, NEVER, NEVER, None, 0, FINAL)

    def _cross(self, at: int, first: int) -> None:
        """A source goes over: frames from `at` on belong to the new plan, `first` is the first. A successor goes over there again."""
        if self._recorded() is None:
            self._record(at, first)
        elif self.chain.block.get(f"{self.key}.cut_first") < 0:
            self.chain.block.set(f"{self.key}.cut_first", first)
        self.enter()
        self._tell_crossed()

    def _record(self, at: int, first: int) -> None:
        block, words = self.chain.block, ("cut", "cut_last", "cut_first", "cut_epoch")
        with block.together():
            for word, value in zip(words, (at, self.last_sent()[0], first, self.passage.epoch), strict=True):
                block.set(f"{self.key}.{word}", value)

    def _tell_crossed(self) -> None:
        last, first = (self.chain.block.get(f"{self.key}.{word}") for word in ("cut_last", "cut_first"))
        self.tell("crossed", stream=self._stream(), last=last, first=first)

    def _recorded(self) -> int | None:
        """Where this chain, in an earlier life maybe, has gone over."""
        block = self.chain.block
        if self.chain.source is None:
            return None
        return block.get(f"{self.key}.cut") if block.get(f"{self.key}.cut_epoch") == self.passage.epoch else None

    def last_sent(self) -> tuple[int, int]:
        """seq and pts of the last frame that went out."""
        last, block = self.chain.last_entry(), self.chain.block
        if last is not None:
            return last.seq, last.pts_ns
        seq = block.get(f"{self.key}.next_seq") if self.chain.source is not None else 0
        return (seq - 1, block.get(f"{self.key}.last_pts")) if seq else (-1, -1)

    def _stream(self) -> str:
        return self.chain.source.stream.name if self.chain.source is not None else ""
