"""The running plan and its change, in the executor: what comes is started beside what runs, then frames go over, then what is left ends.

Everything here happens in the supervisor's thread, a bit at a time between its other duties.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flow.executor.results import ResultsInbox
from flow.executor.workers import Worker
from flow.plan.value import Lane, Plan
from flow.pool import PoolError
from flow.switch.cut import NEVER, Cutter, Interrupted, Steps, groups
from flow.switch.error import SwitchError
from flow.switch.proof import Proof, differences, gap_of, last_row, memory_of
from flow.switch.succession import Misfit, Numbers, Succession, succeed
from flow.switch.terms import Terms, terms, waiting
from flow.wiring import Seat, Wiring, out_keys
from flow.worker.setup import ORDER, PASSAGE, RESULTS, LinkOrder, Passage, as_json
from flow.worker.state import unpack

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor

RESULTS_TARGET = "results:"
START_S = 120.0
SILENCE_S = 2.0
"""A source that gives no frame for so long after the cut goes over without one."""
RESULTS_S = 1.0
"""How long the first results of the new plan are waited for."""


@dataclass
class Stage:
    """A plan that is ready beside the running one."""

    succession: Succession
    wiring: Wiring
    both: Wiring
    epoch: int
    workers: dict[Seat, Worker]
    inboxes: dict[int, ResultsInbox]
    new_terms: Terms
    peak: int = 0
    lost: int = 0
    problem: str | None = None
    passage: Passage | None = None
    both_terms: Terms | None = None
    final: Terms | None = None
    """What workers that run on know in the end: the new plan, or after all the old one."""
    cutter: Cutter | None = None
    parts: set[tuple[int, int]] = field(default_factory=set)
    left: set[int] = field(default_factory=set)
    """Chains that have nothing left to do; `parts`: with their replica."""
    crossed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Stream -> last seq of the old plan, first of the new one."""
    prepared: set[Seat] = field(default_factory=set)
    passed: set[Seat] = field(default_factory=set)
    retired: set[Seat] = field(default_factory=set)
    inherited: set[int] = field(default_factory=set)


class PlanChange:
    """`take` gives it something to do, `turn` lets it go on."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        plan = supervisor.plan
        self.numbers = Numbers(plan)
        self.epoch = 0
        self.streams = list(supervisor.wiring.streams)
        self.stage: Stage | None = None
        self.retired: Counter[str] = Counter()
        """What workers that are gone have counted."""
        self._terms = terms(plan, 0, digest=plan.digest)
        self._legacy: dict[int, dict[str, Any]] = {}
        """Chain -> what it inherits, for as long as it lives: a worker that dies before its first frame inherits again."""
        self._task: tuple[Steps, Future[Any]] | None = None
        self._switching = False

    # ---- what the supervisor asks

    @property
    def active(self) -> bool:
        return self._task is not None

    @property
    def staged(self) -> dict[Seat, Worker]:
        """Workers that are not part of the run yet."""
        return {} if self.stage is None or self._switching else self.stage.workers

    def take(self, what: str, future: Future[Any], **fields: Any) -> None:
        """`stage`, `switch` or `drop`; the future gets what comes of it."""
        if self._task is not None:
            future.set_exception(SwitchError("expected one change of plans at a time, got a second; wait for the first"))
            return
        tasks: dict[str, Callable[..., Steps]] = {"stage": self._stage, "switch": self._switch, "drop": self._drop}
        self._task = tasks[what](**fields), future
        self.turn()

    def turn(self) -> None:
        """Goes on with what is to be done."""
        if self._task is None:
            return
        steps, future = self._task
        try:
            next(steps)
        except StopIteration as end:
            self._task = None
            future.set_result(end.value)
        except (SwitchError, Misfit, PoolError, OSError) as error:
            self._task = None
            future.set_exception(error if isinstance(error, SwitchError) else SwitchError(str(error)))
        except BaseException as error:
            self._task = None
            future.set_exception(error)
            raise

    def terms(self, worker: Worker) -> Terms:
        """What a worker is started with."""
        stage, lane = self.stage, worker.seat.lane
        if stage is not None and lane in stage.succession.coming:
            return self._held(stage.new_terms, stage.wiring, lane)
        if stage is None or not self._switching:
            return self._held(self._terms, self.supervisor.wiring, lane)
        if lane in stage.succession.leaving:
            own = stage.both.lanes[lane].chains
            closed = tuple(sink for chain in own if chain in stage.left for sink in stage.both.chains[chain].sinks)
            known = self._held(self._terms, stage.both, lane)
            return waiting(known, tuple(chain for chain in known.held if chain not in stage.left), (*known.waiting, *closed))
        if stage.final is not None:
            return self._held(stage.final, stage.both, lane)
        assert stage.both_terms is not None
        return self._held(replace(stage.both_terms, passage=stage.passage), stage.both, lane)

    def _held(self, known: Terms, wiring: Wiring, lane: int) -> Terms:
        held = tuple(chain for chain in wiring.lanes[lane].chains if chain in self._legacy)
        return waiting(known, held, tuple(sink for chain in held for sink in self._legacy[chain]["sinks"])) if held else known

    def over(self, worker: Worker) -> bool:
        """Whether a worker that has died was not needed any more."""
        stage = self.stage
        if stage is None or not self._switching or worker.seat.lane not in stage.succession.leaving:
            return False
        return set(stage.both.lanes[worker.seat.lane].chains) <= stage.left and self._passed(stage)

    def lost(self, worker: Worker, message: str) -> None:
        """A worker is not coming back."""
        if self.stage is not None and self._switching and worker.seat.lane in self.stage.succession.coming:
            self.stage.problem = message

    def handle(self, worker: Worker, event: dict[str, Any]) -> bool:
        """Takes in what a worker tells about the change; whether that was all there was to it."""
        stage, seat = self.stage, worker.seat
        if stage is None:
            return self._inherit_again(worker, event)
        if seat in self.staged:
            match event["event"]:
                case "ready":
                    worker.ready = True
                case "business_failed" | "error":
                    stage.problem = stage.problem or str(event["message"])
                case "grow":
                    return False
            return True
        match event["event"]:
            case "ready" if self._switching:
                self._again(stage, worker)
                return self._inherit_again(worker, event)
            case "prepared":
                stage.prepared.add(seat)
            case "passed":
                stage.passed.add(seat)
            case "retired" | "withdrawn":
                stage.retired.add(seat)
            case "left":
                stage.parts.add((event["chain"], seat.replica))
                if all((event["chain"], replica) in stage.parts for replica in range(stage.both.replicas(event["chain"]))):
                    stage.left.add(event["chain"])
            case "inherited":
                stage.inherited.add(event["chain"])
                self._refused(stage, event["refused"])
            case "crossed" | "at" | "held":
                if event["event"] == "crossed":
                    stage.crossed.setdefault(event["stream"], (event["last"], event["first"]))
                if stage.cutter is not None:
                    stage.cutter.told(event)
            case _:
                return self._inherit_again(worker, event)
        return True

    def _inherit_again(self, worker: Worker, event: dict[str, Any]) -> bool:
        """A chain that inherited before inherits again in its worker's next life."""
        if event["event"] == "ready":
            for chain in self.supervisor.wiring.lanes[worker.seat.lane].chains:
                left = self.stage is not None and chain in self.stage.left
                if chain in self._legacy and self._legacy[chain].get("sent") and not left:
                    self._send_legacy(worker, chain)
        return bool(event["event"] == "inherited")

    def _again(self, stage: Stage, worker: Worker) -> None:
        """A worker that died on the way is told again where the others are."""
        seat = worker.seat
        if seat.lane in stage.succession.leaving:
            self.supervisor.command(worker, **self._farewell(stage))
        elif seat.lane in stage.succession.kept:
            stage.prepared.add(seat)
            if stage.final is not None and worker.plan is stage.final.plan:
                stage.retired.add(seat)

    # ---- staging

    def _stage(self, plan: Plan) -> Steps:
        """Starts what is new, beside what runs; gives a Proof of what will change. Raises SwitchError."""
        supervisor = self.supervisor
        if self.stage is not None:
            yield from self._drop()
        if not supervisor.running:
            raise SwitchError("expected a run whose workers are ready, got one that is still starting")
        succession = succeed(supervisor.plan, plan, self.numbers, broken=self._broken())
        both = Wiring(succession.both, self.streams)
        self.streams = list(both.streams)
        after = Wiring(succession.after, both.streams)
        fresh = {seat: self._worker(seat, after) for seat in after.seats() if seat.lane in succession.coming}
        known = terms(succession.after, self.epoch + 1)
        stage = Stage(succession, after, both, self.epoch + 1, fresh, self._new_inboxes(succession), known)
        try:
            supervisor.memory.extend(both, after, {**supervisor.workers, **fresh}, stage.epoch)
        except (PoolError, OSError):
            for worker in fresh.values():
                worker.close()
            raise
        self.stage = stage
        self._bequeath(stage)
        supervisor.inboxes = {**supervisor.inboxes, **stage.inboxes}
        supervisor.nodes.update((node.address, node) for node in succession.after.nodes)
        try:
            yield from self._start(stage)
        except SwitchError:
            yield from self._drop()
            raise
        stage.peak = memory_of([*supervisor.workers.values(), *fresh.values()]) + supervisor.memory.nbytes()
        return differences(succession, succession.heirs)

    def _broken(self) -> set[int]:
        """Lanes that shall not run on: lost ones, and those with work of businesses that have stopped."""
        supervisor = self.supervisor
        broken = {seat.lane for seat in supervisor.lost}
        for node in supervisor.plan.nodes:
            if supervisor.stopped.intersection(node.businesses):
                broken.update(lane.id for lane in supervisor.plan.lanes if node.address in _nodes(supervisor.wiring, lane.id))
        for sink in supervisor.plan.sinks:
            if sink.business in supervisor.stopped:
                broken.update(lane.id for chain, lane in supervisor.wiring.lane_of.items() if sink.id in supervisor.wiring.chains[chain].sinks)
        return broken

    @staticmethod
    def _worker(seat: Seat, wiring: Wiring) -> Worker:
        lane = wiring.lanes[seat.lane]
        worker = Worker(seat, wiring.layout(lane), threads=lane.threads, device=lane.device)
        worker.plan = wiring.plan
        return worker

    def _new_inboxes(self, succession: Succession) -> dict[int, ResultsInbox]:
        """Inboxes of outputs that begin."""
        supervisor = self.supervisor
        old = {sink.id for sink in succession.before.sinks}
        discarding = bool(supervisor.inboxes) and all(inbox.discarding for inbox in supervisor.inboxes.values())
        made = {}
        for sink in succession.after.sinks:
            if sink.target == RESULTS_TARGET and sink.id not in old and sink.id not in succession.sinks:
                made[sink.id] = ResultsInbox(sink, supervisor.arrived)
                made[sink.id].discarding = discarding
        return made

    def _bequeath(self, stage: Stage) -> None:
        """Notes for every chain of a coming lane what it will inherit, and from which chains."""
        succession = stage.succession
        makers = {address: chain.id for chain in succession.before.chains for address in chain.nodes}
        writers = {sink: chain.id for chain in succession.before.chains for sink in chain.sinks}
        for lane in succession.coming:
            for chain in map(stage.wiring.chains.__getitem__, stage.wiring.lanes[lane].chains):
                ancestors = {address: heir.ancestor for address in chain.nodes if (heir := succession.heirs.get(address)) and heir.ancestor}
                lost = {address: None for address in chain.nodes if (heir := succession.heirs.get(address)) and not heir.ancestor}
                sinks = {sink: succession.sinks[sink] for sink in chain.sinks if sink in succession.sinks}
                if ancestors or lost or sinks:
                    after = {makers[address] for address in ancestors.values()} | {writers[sink] for sink in sinks.values()}
                    self._legacy[chain.id] = {"ancestors": ancestors, "sinks": sinks, "after": after, "states": lost, "last": {}}

    def _start(self, stage: Stage) -> Steps:
        supervisor = self.supervisor
        for worker in stage.workers.values():
            supervisor.start(worker)
        give_up = time.monotonic() + START_S
        while not all(worker.ready for worker in stage.workers.values()) or stage.problem:
            for worker in stage.workers.values():
                cause = worker.dead()
                if cause is not None:
                    stage.problem = stage.problem or worker.last_words() or f"{worker.seat.name} died as it was started: {cause}"
            if stage.problem:
                raise SwitchError(f"the new plan cannot start: {stage.problem}")
            if time.monotonic() > give_up:
                raise SwitchError(f"the new plan cannot start: expected its workers ready in {START_S:.0f} s, got some that are not")
            yield

    def _drop(self) -> Steps:
        """What is staged is given up: nothing has happened."""
        stage, supervisor = self.stage, self.supervisor
        if stage is None:
            return
        for worker in stage.workers.values():
            yield from self._stop(worker)
        supervisor.memory.reduce(supervisor.wiring, supervisor.workers)
        supervisor.inboxes = {sink: inbox for sink, inbox in supervisor.inboxes.items() if sink not in stage.inboxes}
        for inbox in stage.inboxes.values():
            inbox.close()
        for worker in stage.workers.values():
            worker.close()
        for lane in stage.succession.coming:
            for chain in stage.wiring.lanes[lane].chains:
                self._legacy.pop(chain, None)
        self.stage = None

    def _stop(self, worker: Worker) -> Steps:
        """Ends a worker that is not part of the run (any more)."""
        if worker.ready and not worker.gone:
            self.supervisor.command(worker, do="stop")
        give_up = time.monotonic() + 5.0
        while not worker.gone and worker.dead() is None and (worker.ready or worker.process is None) and time.monotonic() < give_up:
            yield
        worker.kill()
        worker.join(2.0)
        worker.gone, worker.ready = True, False

    # ---- the switch

    def _switch(self) -> Steps:
        """Frames go over to what is staged; gives the Proof. Raises SwitchError, and then the old plan runs on."""
        stage, supervisor = self.stage, self.supervisor
        if stage is None:
            raise SwitchError("expected a plan that is staged, got none; stage it first")
        for worker in stage.workers.values():
            if worker.dead() is not None:
                yield from self._drop()
                raise SwitchError(f"a worker of the new plan died before the switch: {worker.seat.name}; stage it anew")
        before = supervisor.wiring
        self._merge(stage)
        try:
            yield from self._prepare(stage)
            cuts = yield from self._choose(stage)
        except SwitchError:
            yield from self._withdraw(stage, before)
            raise
        assert stage.passage is not None
        stage.passage = replace(stage.passage, cuts=cuts)
        supervisor.memory.epoch = stage.epoch
        yield from self._cross(stage, cuts)
        yield from self._watch_results(stage)
        proof = self._proof(stage)
        yield from self._retire(stage)
        return proof

    def _merge(self, stage: Stage) -> None:
        """From here on the supervisor looks after what comes as after what runs."""
        supervisor = self.supervisor
        supervisor.workers = {**supervisor.workers, **stage.workers}
        supervisor.wiring = stage.both
        succession = stage.succession
        stage.passage = Passage(stage.epoch, succession.after.digest, succession.ends, succession.begins, {})
        stage.both_terms = terms(succession.both, self.epoch)
        self._switching = True

    def _kept(self, stage: Stage) -> list[Worker]:
        return [worker for seat, worker in self.supervisor.workers.items() if seat.lane in stage.succession.kept]

    def _prepare(self, stage: Stage) -> Steps:
        """Workers that run on get to know the new plan, and the memory they share with who comes."""
        supervisor, assured = self.supervisor, stage.passage
        assert assured is not None
        assert stage.both_terms is not None
        kept = self._kept(stage)
        for worker in kept:
            begins = [edge for chain in stage.both.lanes[worker.seat.lane].chains for edge in stage.both.outbound(chain)]
            new = [key for edge in begins if edge.id in assured.begins for key in out_keys(edge.id)]
            try:
                worker.block.rename(worker.block.layout.changed((), new))
            except ValueError as error:
                raise SwitchError(f"more consumers than a worker can begin at once: {error}") from None
        yield from self._all_ready(kept)
        for worker in kept:
            supervisor.command(
                worker, do="prepare", plan=stage.both_terms.plan_json, passage=as_json(PASSAGE, assured), streams=self.streams,
                names=worker.block.layout.names,
            )  # fmt: skip
            supervisor.memory.hand_over(worker, wiring=stage.both, epoch=stage.epoch, since=stage.epoch)
        for seat, worker in supervisor.workers.items():
            if seat.lane in stage.succession.leaving and worker.ready:
                supervisor.command(worker, **self._farewell(stage))
        while not all(worker.seat in stage.prepared for worker in kept):
            self._check(stage)
            yield
        self._open_links(stage)

    def _farewell(self, stage: Stage) -> dict[str, Any]:
        handed = [heir.ancestor for heir in stage.succession.heirs.values() if heir.ancestor is not None]
        return {"do": "leave", "handed": handed, "sinks": list(stage.succession.sinks.values())}

    def _check(self, stage: Stage) -> None:
        if stage.problem:
            raise SwitchError(f"the new plan cannot run: {stage.problem}")

    def _all_ready(self, workers: list[Worker]) -> Steps:
        while not all(worker.ready for worker in workers if worker.seat not in self.supervisor.lost):
            yield

    def _open_links(self, stage: Stage) -> None:
        """ZeroMQ links of edges that begin; rings are there already."""
        supervisor = self.supervisor
        for link in stage.both.links():
            if link.edge in stage.succession.begins and stage.both.carrier(link) == "zmq":
                address = supervisor.directory.address(f"{link.name}.{stage.epoch}n")
                for end, sending in zip(reversed(stage.both.ends(link)), (False, True), strict=True):
                    order = as_json(ORDER, LinkOrder(link, address, sending))
                    supervisor.command(supervisor.workers[end], do="open", links=[order])

    def _choose(self, stage: Stage) -> Steps:
        """Where each stream is cut; a source that dies meanwhile is waited for, and everything goes on in the old plan until then."""
        supervisor = self.supervisor
        sources = self._sources(stage)
        while True:
            yield from self._all_ready(list(sources.values()))
            self._check(stage)
            together = [group for group in groups(stage.succession.both) if any(name in sources for name in group.members)]
            own = [replace(group, members=tuple(name for name in group.members if name in sources)) for group in together]
            own = [group if group.leader in group.members else replace(group, leader=group.members[0]) for group in own]
            stage.cutter = Cutter(own, sources, supervisor.command, _over=set(stage.crossed))
            try:
                return (yield from stage.cutter.choose())
            except Interrupted:
                for worker in sources.values():
                    if worker.ready:
                        supervisor.command(worker, do="back")

    def _sources(self, stage: Stage) -> dict[str, Worker]:
        """Workers of the streams that run on."""
        plan, both = stage.succession.both, stage.both
        found = {}
        for chain in plan.chains:
            lane = both.lane_of[chain.id].id
            if chain.stream is not None and lane in stage.succession.kept:
                found[chain.stream] = self.supervisor.workers[Seat(lane, 0)]
        return found

    def _cross(self, stage: Stage, cuts: dict[str, int]) -> Steps:
        """Frames go over; who is left behind finishes and leaves what it has to its heirs."""
        supervisor = self.supervisor
        self._let_go(stage, cuts)
        silent = time.monotonic() + SILENCE_S
        wanted = {chain for chain in self._legacy if stage.both.lane_of[chain].id in stage.succession.coming}
        leaving = {chain for lane in stage.succession.leaving for chain in stage.both.lanes[lane].chains}
        while not (set(cuts) <= set(stage.crossed) and leaving <= stage.left and wanted <= stage.inherited and self._passed(stage)):
            for chain in wanted - stage.inherited:
                if self._legacy[chain]["after"] <= stage.left and not self._legacy[chain].get("sent"):
                    self._hand_over(stage, chain)
            late = sorted(stream for stream, at in cuts.items() if at != NEVER and stream not in stage.crossed)
            if time.monotonic() > silent and late:
                silent = time.monotonic() + SILENCE_S
                for worker in self._sources(stage).values():
                    if worker.ready:
                        supervisor.command(worker, do="force", streams=late)
            yield

    def _let_go(self, stage: Stage, cuts: dict[str, int]) -> None:
        supervisor = self.supervisor
        for worker in self._sources(stage).values():
            supervisor.command(worker, do="cut", cuts=cuts)
        for seat, worker in supervisor.workers.items():
            if seat.lane in stage.succession.leaving:
                supervisor.command(worker, do="drain")
            elif seat.lane in stage.succession.coming:
                supervisor.command(worker, do="go")

    def _passed(self, stage: Stage) -> bool:
        return all(worker.seat in stage.passed or worker.seat in self.supervisor.lost for worker in self._kept(stage))

    def _hand_over(self, stage: Stage, chain: int) -> None:
        """What a chain inherits is there: states from the ledger blocks of those who left, and outputs."""
        supervisor, legacy = self.supervisor, self._legacy[chain]
        for address, ancestor in legacy["ancestors"].items():
            maker = next(one for one in stage.succession.before.chains if ancestor in one.nodes)
            data, reason = self._state(stage, maker.id, maker.nodes.index(ancestor))
            if data is not None:
                legacy["states"][address] = b64encode(data).decode()
            elif reason:
                self._refused(stage, {address: reason})
                legacy["states"][address] = None
        for new, old in legacy["sinks"].items():
            writer = supervisor.workers[Seat(stage.both.lane_of[self._writer(stage, old)].id, 0)]
            legacy["last"][str(new)] = writer.block.get(f"sink:{old}.last_ns")
            if old in supervisor.inboxes:
                inbox = supervisor.inboxes[old]
                inbox.sink = next(sink for sink in stage.succession.after.sinks if sink.id == new)
                supervisor.inboxes = {sink: one for sink, one in supervisor.inboxes.items() if sink != old} | {new: inbox}
        legacy["sent"] = True
        seat = Seat(stage.both.lane_of[chain].id, 0)
        if supervisor.workers[seat].ready:
            self._send_legacy(supervisor.workers[seat], chain)

    @staticmethod
    def _writer(stage: Stage, sink: int) -> int:
        return next(chain.id for chain in stage.succession.before.chains if sink in chain.sinks)

    def _state(self, stage: Stage, chain: int, place: int) -> tuple[bytes | None, str]:
        """The last state of a node of the old plan, or why there is none (no reason: it has seen no frame)."""
        lane = stage.both.lane_of[chain]
        block = self.supervisor.workers[Seat(lane.id, 0)].block
        number = block.get(f"chain:{chain}.state")
        if not number:
            return None, ""
        saved = block.load_state(stage.both.state_areas(lane)[chain], last=number)
        if saved is None or saved[0] != number:
            return None, "it does not save its state, or one beside it does not, or it is larger than 1 MiB"
        return unpack(saved[1])[1].get(place, b""), ""

    def _send_legacy(self, worker: Worker, chain: int) -> None:
        legacy = self._legacy[chain]
        orders = [as_json(RESULTS, self.supervisor.open_inbox(sink)) for sink in legacy["sinks"] if sink in self.supervisor.inboxes]
        self.supervisor.command(worker, do="inherit", chain=chain, states=legacy["states"], results=orders, last=legacy["last"])

    def _refused(self, stage: Stage, refused: dict[str, str]) -> None:
        """These states could not be carried over, and why."""
        heirs = stage.succession.heirs
        found = {
            address: replace(heirs[address], ancestor=None, reason=reason)
            for address, reason in refused.items()
            if address in heirs and heirs[address].ancestor is not None
        }
        stage.succession = replace(stage.succession, heirs={**heirs, **found})

    def _watch_results(self, stage: Stage) -> Steps:
        """Waits until every output that has changed hands has a result of the new plan."""
        supervisor, give_up = self.supervisor, time.monotonic() + RESULTS_S
        writers = {sink: supervisor.workers[Seat(lane.id, 0)] for sink, lane in self._lanes_of_sinks(stage).items()}
        while time.monotonic() < give_up and any(
            last_row(writers[sink], sink) <= legacy["last"].get(str(sink), 0)
            for legacy in self._legacy.values()
            for sink in legacy["sinks"]
            if sink in stage.succession.sinks
        ):
            yield

    @staticmethod
    def _lanes_of_sinks(stage: Stage) -> dict[int, Lane]:
        return {sink: stage.both.lane_of[chain.id] for chain in stage.succession.both.chains for sink in chain.sinks}

    def _proof(self, stage: Stage) -> Proof:
        supervisor, succession = self.supervisor, stage.succession
        workers = list(supervisor.workers.values())
        goes_on = {sink.id for sink in succession.before.sinks} & {sink.id for sink in succession.after.sinks}
        gap = gap_of(workers, goes_on | succession.sinks.keys() | set(succession.sinks.values()))
        lost = sum(value for worker in workers for key, value in worker.block.snapshot().items() if key.endswith(".dropped:switch"))
        peak = max(stage.peak, memory_of(workers) + supervisor.memory.nbytes())
        return replace(
            differences(succession, succession.heirs),
            last_old={stream: last for stream, (last, _) in stage.crossed.items()},
            first_new={stream: first for stream, (_, first) in stage.crossed.items()},
            gap_ns=gap, lost=lost - stage.lost, memory_peak_bytes=peak,
        )  # fmt: skip

    def _retire(self, stage: Stage) -> Steps:
        """What only the old plan had ends, and its memory is given back."""
        supervisor, succession = self.supervisor, stage.succession
        ended = [key for edge in succession.ends for key in out_keys(edge)]
        pools = supervisor.memory.superfluous(stage.wiring)
        stage.final = stage.new_terms
        for worker in self._kept(stage):
            self._bank(worker, stage, only=ended)
            worker.block.rename(worker.block.layout.changed(ended, ()))
            if worker.ready:
                supervisor.command(worker, do="retire", plan=stage.final.plan_json, names=worker.block.layout.names, pools=pools)
        leaving = {seat: worker for seat, worker in supervisor.workers.items() if seat.lane in succession.leaving}
        for worker in leaving.values():
            yield from self._stop(worker)
        while not all(worker.seat in stage.retired or worker.seat in supervisor.lost for worker in self._kept(stage)):
            yield
        for worker in leaving.values():
            self._bank(worker, stage)
        self._finish(stage, {seat: worker for seat, worker in supervisor.workers.items() if seat not in leaving})
        for worker in leaving.values():
            worker.close()

    def _finish(self, stage: Stage, workers: dict[Seat, Worker]) -> None:
        """The new plan is the running one."""
        supervisor, succession = self.supervisor, stage.succession
        gone = {sink.id for sink in succession.before.sinks} - {sink.id for sink in succession.after.sinks}
        for inbox in [inbox for sink, inbox in supervisor.inboxes.items() if sink in gone]:
            inbox.close()
        supervisor.inboxes = {sink: inbox for sink, inbox in supervisor.inboxes.items() if sink not in gone}
        supervisor.workers = workers
        supervisor.wiring, supervisor.plan = stage.wiring, succession.after
        supervisor.stopped &= {business for node in succession.after.nodes for business in node.businesses}
        supervisor.memory.reduce(stage.wiring, workers)
        supervisor.nodes = {node.address: node for node in succession.after.nodes}
        supervisor.lost &= workers.keys()
        self.epoch, self._terms = stage.epoch, stage.new_terms
        chains = stage.wiring.chains.keys()
        self._legacy = {chain: legacy for chain, legacy in self._legacy.items() if chain in chains}
        self.stage, self._switching = None, False

    def _bank(self, worker: Worker, stage: Stage, only: list[str] | None = None) -> None:
        """Keeps what a worker has counted beyond its life; outputs that go on count on."""
        counts = worker.block.snapshot()
        goes_on = {f"sink:{old}.": f"sink:{new}." for new, old in stage.succession.sinks.items()}
        received = {f"sink:{old}." for new, old in stage.succession.sinks.items() if new in self.supervisor.inboxes}
        self.retired = Counter({_renamed(key, goes_on): value for key, value in self.retired.items()})
        for key, value in counts.items():
            if (only is not None and key not in only) or not value or key.startswith(("chain:", "taken:")):
                continue
            for old, new in goes_on.items():
                if key.startswith(old):
                    if key.endswith((".last_ns", ".gap_ns", ".max_ns")) or (old in received and key.endswith(".results")):
                        break
                    self.retired[new + key.removeprefix(old)] += value
                    break
            else:
                if not key.startswith("sink:"):
                    self.retired[key] += value

    # ---- back

    def _withdraw(self, stage: Stage, before: Wiring) -> Steps:
        """No cut stands: everything goes on in the old plan."""
        supervisor = self.supervisor
        assert stage.passage is not None
        new = [key for edge in stage.succession.begins for key in out_keys(edge)]
        stage.final = self._terms
        for worker in self._kept(stage):
            worker.block.rename(worker.block.layout.changed(new, ()))
            if worker.ready:
                supervisor.command(worker, do="withdraw", plan=stage.final.plan_json, names=worker.block.layout.names)
        for seat, worker in supervisor.workers.items():
            if seat.lane in stage.succession.leaving:
                supervisor.command(worker, do="stay")
        stage.retired.clear()
        while not all(worker.seat in stage.retired or worker.seat in supervisor.lost for worker in self._kept(stage)):
            yield
        supervisor.workers = {seat: worker for seat, worker in supervisor.workers.items() if seat not in stage.workers}
        supervisor.wiring = before
        supervisor.lost -= stage.workers.keys()
        self._switching = False
        yield from self._drop()

    # ---- the end

    def end(self, asked: Iterable[Future[Any]]) -> None:
        """The run is over: who waits for a change is told."""
        for future in (*asked, *([self._task[1]] if self._task is not None else [])):
            future.set_exception(SwitchError("the run ended before the change was made"))
        self._task = None
        for worker in self.staged.values():
            worker.kill()
            worker.join(2.0)

    def close(self) -> None:
        """Frees what is staged."""
        for worker in self.staged.values():
            worker.close()


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """The counter under the number that its output has now."""
    return next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), key)


def _nodes(wiring: Wiring, lane: int) -> Iterator[str]:
    return (address for chain in wiring.lanes[lane].chains for address in wiring.chains[chain].nodes)
