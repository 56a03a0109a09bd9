"""A chain in a worker: what meets at its start, its nodes on one frame, what leaves at its end, and when a frame is settled.

Outputs are published first and inputs acknowledged after, once the outputs survive this worker; so a frame is never lost between
two workers, and numbered turns keep it from being seen twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from flow.entry import FINAL, RESET, Entry, Kind
from flow.ledger import Block
from flow.plan.value import Chain, Ref
from flow.pool import SlotRef
from flow.sinks.contract import SinkClosedError, SinkError
from flow.worker.gate import gates, outgoing
from flow.worker.in_edge import InEdge
from flow.worker.join import Join
from flow.worker.live import LiveSource
from flow.worker.memory import OwnPools
from flow.worker.node import AbsentNode, NodeRunner, counts_now
from flow.worker.notices import Notices
from flow.worker.out_edge import OutEdge
from flow.worker.passage import ChainPassage
from flow.worker.passing import Passing
from flow.worker.settlement import Settlement
from flow.worker.sinks import ResultsTarget, SinkRunner
from flow.worker.source import Shot, SourceStage, WaitingSource
from flow.worker.state import ChainState
from flow.worker.straight import Straight
from flow.worker.ways import entry_of
from ops.value import Frame


class ChainRunner:
    """Runs one chain. `step` does what can be done now and says whether it did anything."""

    def __init__(
        self, chain: Chain, block: Block, *, streams: list[str], table: dict[Ref, int],
        nodes: Sequence[NodeRunner | AbsentNode], sinks: Sequence[SinkRunner],
        inbound: Sequence[InEdge], outbound: Sequence[tuple[OutEdge, tuple[Ref, ...]]], pools: OwnPools, join: Join | None,
        source: SourceStage | None, source_place: int, state_area: int | None, poison: frozenset[tuple[int, int, int]],
        failed: Callable[[Sequence[str], str], None], closed: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.chain, self.block, self.streams, self.pools = chain, block, streams, pools
        self.nodes, self.sinks, self.join, self.source = nodes, sinks, join, source
        self.inbound, self.table = inbound, table
        self.route(outbound)
        self.beside: list[OutEdge] = []
        """Edges that frames do not take: not yet, or no more."""
        self.epoch = 0
        self.passage: ChainPassage | None = None
        self.held = self.leaving = False
        """Waits for what it inherits; leaves what it has to others."""
        self.handed: frozenset[str] = frozenset()
        """Nodes whose state others take over: they are not flushed."""
        self.size = len(table)
        self.source_place = source_place
        self.state_area = state_area
        self.state = ChainState(f"chain:{chain.id}.state", nodes, block, state_area)
        self.poison = poison
        self.settling: deque[Settlement] = deque()
        self.stopped: set[str] = set()
        self.go = False
        """Whether sources may start: not before every worker is ready, or the first frames would wait for the last of them."""
        self.ended = False
        self.end_sent = False
        self._failed, self._closed = failed, closed
        self.straight: Straight | None = None
        if isinstance(source, LiveSource) and source.stream.policy == "latest" and self.gates:
            source.takes = self._anybody_takes
        self.notices = Notices(self) if isinstance(source, WaitingSource) else None
        self.last: Entry | None = None
        self.last_head: tuple[int, ...] | None = None
        """Of the last frame, when it went the common path."""
        self._flushed = False
        self._end_taken: list[tuple[InEdge, int]] = []
        """The end of what came in: settled with what operators still hold then, or a successor could not ask them again."""
        self.blocked = False
        self.batched = False
        """Whether frames are left in hand for others to run them together with those of other chains."""
        self.in_hand: Passing | None = None
        self.frames_in: list[tuple[InEdge, list[int]]] = [(edge, [table[ref] for ref in edge.edge.refs]) for edge in inbound]

    def route(self, routes: Sequence[tuple[OutEdge, tuple[Ref, ...]]]) -> None:
        """From now on frames leave on these edges."""
        self.routes, table, pools = routes, self.table, self.pools
        self.outbound = [edge for edge, _ in routes]
        self.gates = gates([(edge, [table[ref] for ref in refs], [pools.at(ref).place for ref in refs]) for edge, refs in routes])
        self.thins = any(gate.thinning for gate in self.gates)

    def _anybody_takes(self) -> bool:
        """Whether a frame could go on at once somewhere, as far as any thread can see; a sample alone is not worth a frame."""
        for gate in self.gates:  # noqa: SIM110 - asked for every frame of a camera, where a generator costs more than the question
            if gate.sample is None and gate.takes():
                return True
        return False

    def links_changed(self) -> None:
        """Looks anew whether frames can go the common path."""
        self.hand_back()
        rare = self.batched or self.held or self.passage is not None or (self.notices is not None and self.notices.owed())
        self.straight = None if rare else Straight.of(self)

    def hand_back(self) -> None:
        """From here on this chain itself knows how far its links are, until a frame goes the common path again."""
        if self.straight is not None:
            self.straight.hand_back()

    # ---- readiness

    def ready(self) -> bool:
        """Whether a frame can be taken now and published without waiting."""
        return (
            len(self.settling) < 64
            and all(gate.ready() for gate in self.gates)
            and all(sink.ready() for sink in self.sinks)
            and self.pools.ready()
        )

    def wants_room(self) -> bool:
        """Whether something waits for what consumers finish with."""
        return self.blocked or self.ended or bool(self.settling) or any(gate.pending for gate in self.gates)

    def stirs(self, *, room: bool) -> bool:
        """Whether a link has something new; `room`: also of what consumers have finished with."""
        if self.straight is not None and self.straight.active:
            return self.straight.stirs(room=room)
        if any(edge.stirs() for edge in self.inbound):
            return True
        edges = (*self.outbound, *self.beside)
        return room and (any(edge.stirs() for edge in edges) or any(sink.stirs() for sink in self.sinks))

    def idle(self) -> None:
        """Nothing has happened for a while: what was put off is done."""
        self.hand_back()
        for inbound in self.inbound:
            inbound.acknowledge(idle=True)

    def starved(self) -> bool:
        """Waits for a slot that another worker will free without telling us."""
        return not self.pools.ready()

    # ---- one step

    def step(self) -> bool:
        """One round: acknowledgements, frames, settlement."""
        if self.straight is not None and (went := self.straight.run()) is not None:
            return went
        return self._step()

    def _step(self) -> bool:
        moved = False
        self.block.begin()
        try:
            for edge in (*self.outbound, *self.beside):
                moved |= edge.poll()
            for gate in self.gates:
                moved |= gate.pump()
            for sink in self.sinks:
                moved |= sink.poll()
            for inbound in self.inbound:
                moved |= inbound.poll()
            if not self.end_sent and not self.held:
                moved |= self._advance()
            moved |= self.settle()
            for inbound in self.inbound:
                inbound.acknowledge()
        finally:
            self.block.end()
        return moved

    def _advance(self) -> bool:
        if self.ended:
            return self._finish()
        if self.in_hand is not None:
            return False
        self.blocked = not self.ready()
        if self.blocked:
            return False
        if self.source is not None:
            return (self.go or self.source.draining) and self._from_source(self.source)
        return self._from_edges()

    def _from_source(self, source: SourceStage) -> bool:
        if self.notices is not None and self.notices.owed():
            self.notices.send_again()
            return True
        self.block.end()  # reading may take as long as a frame takes to come: the ledger must be readable meanwhile
        try:
            shot = source.take() if self.passage is None else self.passage.take(source)
        finally:
            self.block.begin()
        if shot is None:
            self.pools.end_frame()
            if source.ended:
                self.ended = True
                return True
            return False
        values: list[Any] = [None] * self.size
        values[self.source_place] = shot.image
        stream = self.streams.index(source.stream.name)
        entry = Entry(Kind.FRAME, stream, self.epoch, shot.seq, shot.pts_ns, shot.time_ns, shot.mono_ns)
        settlement = Settlement([], [], [], shot.seq + 1, shot.pts_ns)
        self._process(entry, values, settlement)
        self.release_shot(shot)
        source.gone()
        return True

    def release_shot(self, shot: Shot) -> None:
        if isinstance(shot.image.slot, SlotRef) and isinstance(self.source, LiveSource):
            shot.image.slot.pool.release(shot.image.slot)

    def _from_edges(self) -> bool:
        assert self.join is not None
        if self.passage is not None and not self.passage.may_pass(self.join.epoch()):
            self.blocked = True
            return False
        met = self.join.next()
        if self.join.passed:
            self._record(Settlement(self.join.passed, [], []))
            self.join.passed = []
        if met is None:
            return False
        if met.ended:
            self.ended = True
            self._end_taken = met.taken
            return True
        values: list[Any] = [None] * self.size
        for edge, places in self.frames_in:
            entry = met.entries.get(edge)
            if entry is not None and entry.kind is Kind.FRAME:
                for place, value in zip(places, entry.values, strict=True):
                    values[place] = value
        head = met.head
        settlement = Settlement(met.taken, [], [])
        if head.kind is Kind.FRAME:
            entry = Entry(
                Kind.FRAME, head.stream, head.epoch, head.seq, head.pts_ns, head.time_ns, head.capture_ns, met.flags, joined=met.joined
            )
            if self.batched:
                self.in_hand = Passing(self, entry, values, settlement, met)
                return True
            self._process(entry, values, settlement)
        else:
            self._publish_bound(head, settlement)
        met.release()
        return True

    def _publish_bound(self, entry: Entry, settlement: Settlement) -> None:
        bound = Entry(Kind.BOUND, entry.stream, entry.epoch, entry.seq, entry.pts_ns, entry.time_ns, entry.capture_ns, entry.flags)
        for gate in self.gates:
            settlement.given += gate.offer([bound] * len(gate.edges))
        self._record(settlement)

    def _process(self, entry: Entry, values: list[Any], settlement: Settlement, *, flushing: bool = False) -> None:
        frame = entry.frame(self.streams[entry.stream])
        try:
            for node in self.nodes:
                if not self.spares(node, entry) and not (flushing and node.flushed):
                    self.run_node(node, frame, entry, values)
        except BaseException:
            self.pools.end_frame()
            raise
        self.publish(entry, values, settlement)

    def spares(self, node: NodeRunner | AbsentNode, entry: Entry) -> bool:
        """Whether a node is not run on a frame, which is counted there."""
        if self.stopped and self.stopped.issuperset(node.node.businesses):
            self.block.add(f"{node.key}.dropped:stopped", counts_now(self.block, node.key, entry.seq))
            return True
        if (node.number, entry.stream, entry.seq) in self.poison:
            self.block.add(f"{node.key}.dropped:poison", counts_now(self.block, node.key, entry.seq))
            return True
        return False

    def run_node(self, node: NodeRunner | AbsentNode, frame: Frame, entry: Entry, values: list[Any]) -> None:
        """One node on one frame."""
        if not node.run(frame, entry.stream, values) and node.node.on_error == "stop":
            self.fail(node)
        if node.was_reset:
            entry.flags |= RESET

    def publish(self, entry: Entry, values: list[Any], settlement: Settlement) -> None:
        """The frame has gone through all nodes: to sinks and edges with it."""
        self.last, self.last_head = entry, None
        try:
            joined = tuple([Frame(self.streams[stream], seq, pts) for stream, seq, pts in entry.joined])
            self.write(entry.frame(self.streams[entry.stream]), entry.flags, entry.capture_ns, values, joined)
            settlement.results = [(sink.target, sink.target.rows.given) for sink in self.sinks if isinstance(sink.target, ResultsTarget)]
            for gate in self.gates:
                settlement.given += gate.offer([outgoing(entry, [values[place] for place in places]) for _, places, _ in gate.edges])
            for node in self.nodes:
                node.was_reset = False
        finally:
            self.pools.end_frame()
        if self.state_area is not None:
            settlement.state = self.save()
        self._record(settlement)

    def fail(self, node: NodeRunner | AbsentNode) -> None:
        """A node has failed whose business stops then."""
        self._failed(node.node.businesses, f"{node.node.names[0]} failed and its business is set to stop on errors")

    def write(self, frame: Frame, flags: int, capture_ns: int, values: list[Any], joined: tuple[Frame, ...] = ()) -> None:
        """The frame's values to every sink."""
        for sink in self.sinks:
            try:
                sink.run(frame, flags, capture_ns, values[sink.place], joined)
            except SinkClosedError:
                sink.stopped = True
                self._closed(sink.sink.id)
            except SinkError as error:
                self.sink_failed(sink, error)

    def open_sinks(self, *, resume: bool, waiting: Collection[int] = ()) -> None:
        """One that cannot be opened stops its business alone; those that are `waiting` are opened later."""
        for sink in self.sinks:
            try:
                if sink.sink.id not in waiting:
                    sink.open(resume=resume)
            except SinkError as error:
                if sink.sink.business not in self.stopped:
                    self.sink_failed(sink, error)

    def sink_failed(self, sink: SinkRunner, error: SinkError) -> None:
        self.block.add(f"{sink.key}.errors")
        sink.stopped = True
        self._failed((sink.sink.business,), f"output {sink.sink.business}.{sink.sink.output}: {error}")

    # ---- settlement

    def _record(self, settlement: Settlement) -> None:
        self.settling.append(settlement)

    def settle(self) -> bool:
        moved = False
        while self.settling and self.settling[0].safe():
            done = self.settling.popleft()
            done.note(self.block, f"chain:{self.chain.id}", state_area=self.state_area, reads=self.source is not None)
            moved = True
        return moved

    def save(self) -> bytes:
        """The last frame, and the states of all stateful nodes; nothing when one cannot be saved."""
        last = self.last_entry()
        assert last is not None
        return self.state.save(last)

    def restore(self, *, restarted: bool) -> None:
        """Takes over the state that an earlier life saved; nodes without one start empty, and the next result says so."""
        self.last = self.state.restore(restarted=restarted)
        self._flushed = self.last is not None and bool(self.last.flags & FINAL)

    # ---- the end

    def _finish(self) -> bool:
        """After the last frame: what operators still hold comes out, sinks are completed, consumers are told."""
        if not self.ready() or not all(one.safe(within=True) for one in self.settling):
            return False  # a join of this worker may keep the last frame until it hears of the end
        entry = Entry(Kind.END, self.stream_index(), self.epoch, 1 << 62, 1 << 62, None, 0, FINAL)
        if any(gate.pending for gate in self.gates) or any(edge.recovering and not edge.stopped for edge in self.outbound):
            return False
        if not self._flushed:
            self._flushed = True
            self._flush()
            return True
        if self._end_taken:
            self._record(Settlement(self._end_taken, [], []))
            self._end_taken = []
            return True
        if self.passage is not None:
            self.passage.finish()
        for edge in self.outbound:
            edge.end(entry)
        self.end_sent = True
        return True

    def _flush(self) -> None:
        """What operators still hold travels as one more frame after the last."""
        last, held = self.last_entry(), False
        values: list[Any] = [None] * self.size
        if last is None:
            return
        for node in self.nodes:
            spared = (node.number, last.stream, last.seq + 1) in self.poison or self.stopped.issuperset(node.node.businesses)
            spared |= node.node.address in self.handed
            held |= not spared and node.flush(values, last.stream, last.seq + 1)
        if not held:
            return
        entry = Entry(Kind.FRAME, last.stream, last.epoch, last.seq + 1, last.pts_ns, last.time_ns, last.capture_ns, FINAL)
        taken, self._end_taken = self._end_taken, []
        self._process(entry, values, Settlement(taken, [], [], last.seq + 1, last.pts_ns), flushing=True)

    def last_entry(self) -> Entry | None:
        """The last frame, whichever way it went."""
        return self.last if self.last_head is None else entry_of(self.last_head)

    def stream_index(self) -> int:
        return self.streams.index(self.source.stream.name) if self.source is not None else 0

    def finished(self) -> bool:
        """Ended, and nothing of it is under way any more."""
        return (
            self.end_sent
            and not self.settling
            and all(edge.settled() for edge in (*self.outbound, *self.beside))
            and all(sink.settled() for sink in self.sinks)
        )

    def drain(self) -> None:
        if self.source is not None:
            self.source.drain()

    def stop_business(self, name: str) -> None:
        """Works for it no more."""
        self.hand_back()
        self.stopped.add(name)
        for sink in self.sinks:
            if sink.sink.business == name:
                sink.stopped = True

    def close(self) -> None:
        if self.source is not None:
            self.source.close()
        for node in self.nodes:
            node.close()
        for sink in self.sinks:
            try:
                sink.close()
            except SinkError as error:
                self.sink_failed(sink, error)
        for inbound in self.inbound:
            inbound.close()
        for edge in (*self.outbound, *self.beside):
            edge.close()
