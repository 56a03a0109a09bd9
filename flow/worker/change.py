"""A worker while plans change: it prepares for the next one, goes over, leaves what it has to others, or takes over what others had."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flow.plan.codec import decode_plan
from flow.plan.value import Plan
from flow.sinks.contract import SinkError
from flow.wiring import Wiring
from flow.worker.chain import ChainRunner
from flow.worker.passage import ChainPassage
from flow.worker.setup import FAREWELL, PASSAGE, RESULTS, Farewell, Passage
from flow.worker.sinks import Unopened

if TYPE_CHECKING:
    from flow.worker.lane import LaneWorker


class LaneChange:
    """Obeys what the executor says of a change of plans."""

    def __init__(self, worker: LaneWorker) -> None:
        self.worker = worker
        self.epoch = worker.setup.epoch
        self.passage: Passage | None = None
        self._passed = False
        self._left: set[int] = set()
        self.leaves = False
        """Whether others go on with what this worker has, once everything has ended here."""

    def obey(self, command: Mapping[str, Any]) -> None:
        worker = self.worker
        match command["do"]:
            case "prepare":
                worker.wiring.streams[:] = command["streams"]
                worker.block.rename(command["names"])
                self.prepare(decode_plan(command["plan"]), PASSAGE.validate_python(command["passage"]))
                worker.links.connect_early()
                worker.control.tell("prepared")
            case "withdraw":
                self._settle(decode_plan(command["plan"]), command["names"], (), withdrawn=True)
                worker.control.tell("withdrawn")
            case "retire":
                self._settle(decode_plan(command["plan"]), command["names"], command["pools"], withdrawn=False)
                worker.control.tell("retired")
            case "lead" | "hold" | "cut" | "back" | "force":
                for chain in worker.chains:
                    if chain.passage is not None and chain.source is not None:
                        self._order(chain, chain.passage, command)
            case "stay":
                self.leaves = False
                for chain in worker.chains:
                    chain.leaving, chain.handed = False, frozenset()
                    for sink in chain.sinks:
                        sink.ends_here = True
            case "leave":
                self.leave(FAREWELL.validate_python(command["farewell"]))
            case "inherit":
                self._inherit(command)

    def _measure_gaps(self) -> None:
        """From now on: the longest time between two rows of an output."""
        for chain in self.worker.chains:
            for sink in chain.sinks:
                self.worker.block.set(f"{sink.key}.gap_ns", 0)

    @staticmethod
    def _order(chain: ChainRunner, passage: ChainPassage, command: Mapping[str, Any]) -> None:
        assert chain.source is not None
        stream = chain.source.stream.name
        match command["do"]:
            case "lead" if stream == command["stream"]:
                passage.lead(command["at_least"], command["round"])
            case "hold" if stream == command["stream"]:
                passage.hold(command["start"], command["round"])
            case "cut" if stream in command["cuts"]:
                passage.cut(command["cuts"][stream], halted=command["halted"])
            case "back":
                passage.back()
            case "force" if stream in command["streams"]:
                passage.force()

    # ---- lanes that run on

    def prepare(self, plan: Plan, passage: Passage) -> None:
        """From now on each chain may go over. `plan` has what runs before and after."""
        worker = self.worker
        self.passage, self._passed = passage, False
        self._measure_gaps()
        worker.plan = plan
        worker.wiring = worker.links.wiring = Wiring(plan, worker.wiring.streams)
        for chain in worker.chains:
            begins = [edge for edge in worker.wiring.outbound(chain.chain.id) if edge.id in passage.begins]
            for edge in begins:
                worker.make_out_edge(edge, chain.chain)
            edges = [(worker.links.outbound[edge.id], edge.refs) for edge in begins]
            chain.hand_back()
            chain.passage = ChainPassage(chain, passage, plan, edges, worker.control.tell)
            chain.links_changed()
            if chain.end_sent:
                chain.passage.finish()

    def _settle(self, plan: Plan, names: list[str], pools: tuple[int, ...], *, withdrawn: bool) -> None:
        """One plan alone remains: the next (`retire`), or, with edges that do not begin after all, the old one (`withdraw`)."""
        worker = self.worker
        for chain in worker.chains:
            chain.hand_back()
            if chain.passage is None:
                continue
            if withdrawn:
                chain.passage.withdraw()
                chain.pools.coming.clear()
                edges, chain.beside = chain.beside, []
            else:
                edges = chain.passage.close()
            for edge in edges:
                worker.links.forget(edge)
            chain.passage = None
        if self.passage is not None and not withdrawn:
            self.epoch = self.passage.epoch
        self.passage = None
        worker.plan = plan
        worker.wiring = worker.links.wiring = Wiring(plan, worker.wiring.streams)
        worker.block.rename(names)
        worker.block.clear_spare()
        for known in worker.received.values():
            for number in pools:
                known.pop(number, None)
        for chain in worker.chains:
            chain.links_changed()

    # ---- lanes that leave, and their heirs

    def leave(self, farewell: Farewell) -> None:
        """Others will go on with what this worker has."""
        self.leaves = True
        self._measure_gaps()
        for chain in self.worker.chains:
            chain.leaving, chain.handed = True, frozenset(farewell.handed)
            for sink in chain.sinks:
                sink.ends_here = sink.sink.id not in farewell.sinks

    def look(self) -> None:
        """Tells the executor what is over."""
        worker = self.worker
        for chain in worker.chains if self.leaves else ():
            if chain.chain.id not in self._left and chain.finished():
                self._left.add(chain.chain.id)
                self._close_sinks(chain)
                worker.control.tell("left", chain=chain.chain.id)
        if self.passage is not None and not self._passed and all(chain.passage is None or chain.passage.over() for chain in worker.chains):
            self._passed = True
            worker.control.tell("passed")

    def _close_sinks(self, chain: ChainRunner) -> None:
        """Everything has ended here: outputs are closed, so that others can go on with them."""
        for sink in chain.sinks:
            try:
                sink.close()
            except SinkError as error:
                chain.sink_failed(sink, error)
            sink.opened, sink.target = False, Unopened()

    def _inherit(self, command: Mapping[str, Any]) -> None:
        worker = self.worker
        orders = {one.sink: one for one in map(RESULTS.validate_python, command["results"])}
        states = {address: None if data is None else b64decode(data) for address, data in command["states"].items()}
        refused: dict[str, str] = {}
        for chain in worker.chains:
            if chain.chain.id != command["chain"] or not chain.held:
                continue
            refused |= chain.state.inherit(states)
            for sink in chain.sinks:
                if sink.sink.id in worker.waiting_sinks:
                    worker.waiting_sinks.remove(sink.sink.id)
                    try:
                        sink.succeed(worker.target(sink.sink, orders), command["last"].get(str(sink.sink.id), 0))
                    except SinkError as error:
                        chain.sink_failed(sink, error)
            chain.held = False
            for edge in chain.inbound:
                edge.confirm()
            chain.links_changed()
        worker.control.tell("inherited", chain=command["chain"], refused=refused)
