"""A lane at work: builds its chains from the plan, then goes round them until everything has ended."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import zmq

from devices.engine import ModelInfo, Session
from devices.spec import ManySpec
from flow.entry import EdgeCodec
from flow.ledger import Block, Layout
from flow.link.bell import Bell, Rest
from flow.plan.shadow import SHADOW
from flow.plan.value import Chain, Edge, Node, Plan, Ref, Sink
from flow.pool import Pool
from flow.sources.contract import SourceError
from flow.wiring import Seat, Wiring
from flow.worker.alone import run_alone
from flow.worker.batch import BatchRunner, runners
from flow.worker.chain import ChainRunner
from flow.worker.change import LaneChange
from flow.worker.control import ArrivingPools, Control
from flow.worker.fault import describe
from flow.worker.in_edge import InEdge
from flow.worker.join import Join
from flow.worker.links import LaneLinks
from flow.worker.memory import OwnPools
from flow.worker.node import AbsentNode, NodeContext, NodeRunner
from flow.worker.out_edge import OutEdge
from flow.worker.sample import sample
from flow.worker.setup import ORDER, PoolGrant, ResultsOrder, Setup
from flow.worker.sinks import Nowhere, ResultsTarget, SinkRunner, Unopened
from flow.worker.source import SourceStage
from flow.worker.sources import open_source, replays
from flow.worker.waiter import WAIT_MS, Patience, Waiter
from flow.worker.warm import rehearse, warm
from ops import catalog
from ops.contract import Operator

STARVED_WAIT_MS = 2
OWING_WAIT_MS = 5
MESSAGES_A_NODE = 5
BUSY_LISTEN_NS = 10_000_000


class LaneWorker:
    """One worker. `run` returns when the executor says stop; raises channel.Closed when the executor is gone."""

    def __init__(
        self, setup: Setup, plan: Plan, fds: Sequence[int], sock: socket.socket, sessions: dict[tuple[Any, ...], Session]
    ) -> None:  # fmt: skip
        self.setup, self.plan = setup, plan
        self.wiring = Wiring(plan, setup.streams)
        self.lane = self.wiring.lanes[setup.lane]
        block_fd, bell, word = fds
        layout = self.wiring.layout(self.lane)
        self.block = Block(block_fd, Layout.named(setup.names, layout.states) if setup.names else layout)
        self.block.clear_spare()
        os.close(block_fd)
        self.bell = Bell(bell, word, own=True)
        self.zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.control = Control(self.zmq, setup.control, f"lane{setup.lane}.{setup.replica}.{setup.incarnation}", sock)
        self.control.attach = self._attach
        self.control.sent = self._sent
        self.sessions = sessions
        self.received = {chain: ArrivingPools(self.control) for chain in self.lane.chains}
        self.own = {chain: OwnPools(chain, self.control.grow) for chain in self.lane.chains}
        self.chains: list[ChainRunner] = []
        self.batches: list[BatchRunner] = []
        self._told: dict[str, int] = {}
        self._failed: set[str] = set()
        """Businesses that cannot go on for what happened here."""
        self._ended = False
        self._stopping = self.rests = False
        """Whether its process waits for other work after it."""
        self.waiter = Waiter(bell)
        self.patience = Patience()
        self._control_number = -1
        self._sources: dict[int, SourceStage] = {}
        """By what is waited for."""
        self.links = LaneLinks(self.wiring, Seat(setup.lane, setup.replica), self.zmq, self.waiter)
        self.control.connect = self.links.connect
        self.change = LaneChange(self)
        self.waiting_sinks: set[int] = set()
        """Sinks that others still write."""

    def _sent(self) -> None:
        self.waiter.unsure = True

    # ---- building

    def _attach(self, grant: PoolGrant, pool: Pool) -> None:
        self.received[grant.chain][grant.shape.id] = pool
        if grant.row == 0 and grant.epoch > self.change.epoch:
            self.own[grant.chain].coming.append((Ref(grant.address, grant.port), pool))
        elif grant.row == 0:
            self.own[grant.chain].add(Ref(grant.address, grant.port), pool)

    def build(self) -> None:
        """Opens operators, models, sources and sinks. Raises what they raise."""
        areas = self.wiring.state_areas(self.lane)
        results = {order.sink: order for order in self.setup.results}
        for number in self.lane.chains:
            chain = self.wiring.chains[number]
            self.chains.append(self._chain(chain, areas.get(number), results))
        self.block.mend()
        numbers = {address: number for number, address in enumerate(self.wiring.nodes)}
        self.batches = runners(self.lane.batches, self.chains, self.block, numbers, frozenset(self.setup.alone))
        if self.setup.passage is not None:
            self.change.prepare(self.plan, self.setup.passage)
        if self.setup.farewell is not None:
            self.change.leave(self.setup.farewell)
        self.links.begin(self.chains, self.received)
        for name in {*self.setup.stopped, *self._failed}:
            self._stop_business(name)

    def _chain(self, chain: Chain, area: int | None, results: dict[int, ResultsOrder]) -> ChainRunner:
        begins = self.setup.passage.begins if self.setup.passage is not None else ()
        edges_in = self.wiring.inbound(chain.id)
        edges_out = [edge for edge in self.wiring.outbound(chain.id) if edge.id not in begins]
        table: dict[Ref, int] = {}
        stream = self.plan.stream(chain.stream) if chain.stream is not None else None
        if stream is not None:
            table[Ref(stream.address, "image")] = 0
        for edge in edges_in:
            for ref in edge.refs:
                table.setdefault(ref, len(table))
        for address in chain.nodes:
            for port, _ in self.plan.node(address).outputs:
                table.setdefault(Ref(address, port), len(table))
        nodes = [self._node(self.plan.node(address), table, chain) for address in chain.nodes]
        inbound = [self._in_edge(edge, chain) for edge in edges_in]
        outbound = [(self.make_out_edge(edge, chain), edge.refs) for edge in edges_out]
        sinks = [self._sink(sink, table, results) for sink in chain.sinks]
        source = None if stream is None else self._source(chain, stream.name)
        runner = ChainRunner(
            chain, self.block, streams=self.wiring.streams, table=table, nodes=nodes, sinks=sinks, inbound=inbound, outbound=outbound,
            pools=self.own[chain.id], join=self._join(inbound) if inbound else None, source=source, source_place=0, state_area=area,
            poison=frozenset(self.setup.poison),
            failed=self._business_failed, closed=lambda sink: self.control.tell("sink_closed", sink=sink),
        )  # fmt: skip
        if self.setup.beside and self.lane.device == "cpu":
            rehearse(runner, self.wiring.spec)
        for name in self.setup.stopped:
            runner.stop_business(name)
        runner.epoch, runner.held = self.setup.epoch, chain.id in self.setup.held
        for in_edge in inbound:
            in_edge.confirms = not runner.held
        runner.restore(restarted=self.setup.incarnation > 0)
        runner.open_sinks(resume=self.setup.incarnation > 0, waiting=self.waiting_sinks)
        return runner

    def _join(self, inbound: Sequence[InEdge]) -> Join:
        groups: dict[str, list[InEdge]] = {}
        for edge in inbound:
            groups.setdefault(self.wiring.stream_of(edge.edge.producer), []).append(edge)
        anchor, *others = groups.values()
        return Join(anchor, others)

    def _node(self, node: Node, table: dict[Ref, int], chain: Chain) -> NodeRunner | AbsentNode:
        """The node, open; one that cannot be opened is absent, and the businesses that need it stop, no others."""
        number, home = self.wiring.nodes.index(node.address), f"ops.{node.op}"
        absent = AbsentNode(node, self.block, number=number)
        if set(node.businesses) <= {*self.setup.stopped, *self._failed}:
            return absent
        self.block.enter(number, -1, -1, time.monotonic_ns())
        try:
            home = catalog.find(node.op).__module__
            made = self._open_node(node, table, chain)
        except Exception as error:  # an operator may raise anything; it is said where, and what depends on it stops
            message = f"{', '.join(node.names)} ({node.where[0]}): {node.op} cannot be opened: {describe(error, home)}"
            self._business_failed(node.businesses, message)
            return absent
        finally:
            self.block.leave()
        return made

    def _open_node(self, node: Node, table: dict[Ref, int], chain: Chain) -> NodeRunner:
        operator_class = catalog.find(node.op)
        assert issubclass(operator_class, Operator)
        model = self.plan.model(node)
        config = operator_class.Config.model_validate(node.config)
        context = NodeContext(node, self.lane.threads, self._session, self.own[chain.id].at)
        outputs = {port: table[Ref(node.address, port)] for port, _ in node.outputs}
        shares = sum(other.model == node.model for other in map(self.plan.node, chain.nodes)) if node.model else 0
        runner = NodeRunner(
            node, lambda: operator_class(config, model), context, self.block, number=self.wiring.nodes.index(node.address),
            inputs={port: table[ref] for port, ref in node.inputs}, outputs=outputs, keep_outputs=bool(node.lifted) or shares > 1,
            report=self._node_failed,
        )  # fmt: skip
        runner.plan_inputs({port: self.wiring.spec(ref) for port, ref in node.inputs})
        specs = {port: self.wiring.spec(ref) for port, ref in node.inputs}
        runner.operator.infer({port: s.item if isinstance(s, ManySpec) and port in node.lifted else s for port, s in specs.items()})
        runner.open()
        return runner

    def _session(self, model: ModelInfo, node: Node) -> Session:
        import devices

        if not any(node.address in group for batch in self.lane.batches for group in batch.nodes):
            model = replace(model, batch=None)
        precision = str(node.config.get("precision", "auto"))
        key = (model.digest, model.dims, model.batch, node.engine, precision)
        if key not in self.sessions:
            self.sessions[key] = devices.load(model, engine=node.engine or "auto", threads=self.lane.threads, precision=precision)
            if self.setup.beside and self.lane.device == "cpu":
                warm(self.sessions[key])
        return self.sessions[key]

    def make_out_edge(self, edge: Edge, chain: Chain) -> OutEdge:
        codec = EdgeCodec([self.wiring.spec(ref) for ref in edge.refs], edge.payload)
        first, again = chain.stream is not None, replays(self.plan.stream(self.wiring.stream_of(chain.id)))
        made = OutEdge(
            edge, codec, self.block, replica=self.setup.replica, replicas=self.lane.replicas,
            consumers=self.wiring.replicas(edge.consumer), live=edge.sample is not None or (first and not again),
            inner=edge.consumer in self.lane.chains, rereads=first and again, pools=self.received[chain.id],
        )  # fmt: skip
        self.links.outbound[edge.id] = made
        return made

    def _in_edge(self, edge: Edge, chain: Chain) -> InEdge:
        codec = EdgeCodec([self.wiring.spec(ref) for ref in edge.refs], edge.payload)
        made = InEdge(
            edge, codec, self.received[chain.id], self.block, replica=self.setup.replica, replicas=self.lane.replicas,
            producers=self.wiring.replicas(edge.producer),
        )  # fmt: skip
        self.links.inbound[edge.id] = made
        return made

    def _sink(self, number: int, table: dict[Ref, int], results: dict[int, ResultsOrder]) -> SinkRunner:
        sink = self.wiring.sinks[number]
        if number in self.setup.waiting:
            self.waiting_sinks.add(number)
        target = Unopened() if number in self.waiting_sinks else self.target(sink, results)
        return SinkRunner(sink, target, self.block, place=table[sink.value], plan=self.plan.digest)

    def target(self, sink: Sink, results: dict[int, ResultsOrder]) -> Any:
        """Where a sink writes to, not open yet."""
        from flow import sinks

        if sink.target == SHADOW:
            return Nowhere()
        if sink.id not in results:
            return sinks.find(sink.target)(sink, self.plan.stream(sink.stream).fps)
        order = results[sink.id]
        return ResultsTarget(self.control.rows(sink.id), order.seen, order.arrived)

    def _source(self, chain: Chain, name: str) -> SourceStage:
        stream = self.plan.stream(name)
        lease = self.own[chain.id].at(Ref(stream.address, "image"))
        stage = open_source(stream, chain.id, self.block, lease, self.setup.frames, self.control.tell, ahead=self.plan.live)
        if stage.waitable is not None:
            self._sources[stage.waitable] = stage
            self.waiter.add_silent(stage.waitable)
        return stage

    # ---- events

    def _node_failed(self, address: str, message: str) -> None:
        told = self._told[address] = self._told.get(address, 0) + 1
        if told <= MESSAGES_A_NODE:
            self.control.tell("error", address=address, message=message, last=told == MESSAGES_A_NODE)

    def _business_failed(self, businesses: Sequence[str], message: str) -> None:
        self._failed.update(businesses)
        for name in businesses:
            self._stop_business(name)
        self.control.tell("business_failed", businesses=list(businesses), message=message)

    def _stop_business(self, name: str) -> None:
        for chain in self.chains:
            chain.stop_business(name)

    # ---- running

    def run(self) -> None:
        """Goes round the chains. Raises channel.Closed when the executor is gone."""
        for waitable in (self.control.socket, self.control.sock):
            self.waiter.add(waitable)
        self._control_number = int(self.control.socket.getsockopt(zmq.FD))
        listen_at = time.monotonic_ns() + BUSY_LISTEN_NS
        while not self._stopping:
            if self.control.late:
                self.control.connect_late()
            if len(self.chains) == 1:
                self._run_alone(self.chains[0])
            if not self.round():
                self._rest()
            elif (now := time.monotonic_ns()) >= listen_at:
                listen_at = now + BUSY_LISTEN_NS
                self._listen(0)
                self.change.look()  # who is busy all the time would never say that it has gone over

    def round(self) -> bool:
        """What every chain can do now, and then what those in a batch do together; whether anything was done."""
        more = False
        for chain in self.chains:
            if chain.straight is not None and not chain.straight.due():
                continue
            try:
                if chain.step():
                    more = True
            except SourceError as error:
                self._source_failed(chain, error)
                more = True
        for batch in self.batches:
            more |= batch.step()
        return more

    def _run_alone(self, chain: ChainRunner) -> None:
        """What `run` and `_rest` do, in few steps, as long as a worker's only chain passes pictures on its common path."""
        if chain.straight is not None:
            try:
                run_alone(chain.straight, self.bell, self.waiter)
            except SourceError as error:
                self._source_failed(chain, error)

    def _rest(self) -> None:
        """Sleeps until somebody rings or a socket has something. Who wrote before we said that we sleep did not ring: we look once more.

        We are said to sleep until we find something here: who rings while we work on what woke us does so in vain.
        """
        patience: float = WAIT_MS
        until = Rest.FOR_ENTRIES
        for chain in self.chains:
            if chain.straight is None or not chain.straight.active:
                patience, until = self._unusual()
                break
            if chain.blocked:
                until = Rest.FOR_ROOM
                if chain.starved():
                    patience = STARVED_WAIT_MS
        if self.control.late or (self.patience.short and self.patience.looks(lambda: self._stirs(until))):
            return
        self.bell.rest(until)
        if self._stirs(until):
            self.bell.rise()
            return
        started = time.monotonic_ns()
        self._listen(patience)
        self.patience.slept(time.monotonic_ns() - started)

    def _stirs(self, until: Rest) -> bool:
        for chain in self.chains:  # noqa: SIM110 - asked often, where a generator costs more than the question
            if chain.stirs(room=until is Rest.FOR_ROOM and chain.wants_room()):
                return True
        return False

    def _unusual(self) -> tuple[float, Rest]:
        """How long to wait at most, and what for, when chains have more in hand than their common path."""
        if not self._ended and all(chain.finished() for chain in self.chains):
            self._ended = True
            self.block.set_status("ended", 1)
            self.control.tell("ended")
        self.change.look()
        self.waiter.unsure = True  # links and results may have been sent over ZeroMQ
        until = Rest.FOR_ROOM if any(chain.wants_room() for chain in self.chains) else Rest.FOR_ENTRIES
        patience: float = WAIT_MS
        if any(chain.starved() for chain in self.chains):
            patience = STARVED_WAIT_MS
        elif any(edge.owes for edge in self.links.inbound.values()):
            patience = OWING_WAIT_MS
        return min(patience, *(batch.wait_ms() for batch in self.batches), WAIT_MS), until

    def _source_failed(self, chain: ChainRunner, error: SourceError) -> None:
        assert chain.source is not None
        chain.hand_back()
        chain.pools.end_frame()
        chain.ended = True
        self.control.tell("stream_failed", stream=chain.source.stream.name, message=str(error))

    def _listen(self, timeout_ms: float) -> None:
        ready = self.waiter.wait(timeout_ms)
        if not ready and timeout_ms:
            for chain in self.chains:
                chain.idle()
        if ready == self.waiter.bell_alone:
            return
        numbers = [number for number, _ in ready]
        for number in numbers:
            if number in self._sources:
                self._sources[number].hear()
        if self.control.sock.fileno() in numbers and self.control.take().get("kind") == "rest":
            self.rests = self._stopping = True
        if self._control_number in numbers:
            for command in self.control.commands():
                self._obey(command)

    def _obey(self, command: dict[str, Any]) -> None:
        for chain in self.chains:
            chain.hand_back()
        match command["do"]:
            case "open":
                for order in command["links"]:
                    self.links.open(ORDER.validate_python(order))
            case "go":
                for chain in self.chains:
                    chain.go = True
            case "drain":
                for chain in self.chains:
                    chain.drain()
            case "stop":
                self._stopping = True
            case "stop_business":
                self._stop_business(command["business"])
            case "sample":
                sample(self.chains, command, self.control.tell)
            case "detach":
                self.links.outbound[command["edge"]].stop()
            case _:
                self.change.obey(command)

    def close(self) -> None:
        """Frees everything; sinks are completed."""
        for chain in self.chains:
            chain.close()
        self.control.close()
        self.waiter.close()
        self.bell.close()
        self.zmq.destroy(linger=500)
