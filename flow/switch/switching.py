"""The switch itself: those that run on get to know the new plan, the cut is found, frames go over, and what is left behind ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flow.executor.workers import Worker
from flow.switch.bank import lost_frames
from flow.switch.cut import NEVER, Cutter, Interrupted, Steps, breath, groups
from flow.switch.error import SwitchError
from flow.switch.peak import memory
from flow.switch.proof import Proof, differences, gap_of, last_row
from flow.switch.stage import Stage
from flow.wiring import Wiring, out_keys
from flow.worker.setup import FAREWELL, ORDER, PASSAGE, LinkOrder, as_json

if TYPE_CHECKING:
    from flow.switch.change import PlanChange

SILENCE_S = 2.0
"""A source that gives no frame for so long after the cut goes over without one."""
RESULTS_S = 1.0
"""How long the first results of the new plan are waited for."""


class Switching:
    """Steps of a PlanChange, from what is staged to the new plan alone."""

    def __init__(self, change: PlanChange) -> None:
        self.change, self.supervisor = change, change.supervisor

    def switch(self, *, keep_previous: bool = False) -> Steps:
        """Frames go over to what is staged; gives the Proof. Raises SwitchError, and then the old plan runs on."""
        change, supervisor, stage = self.change, self.supervisor, self.change.stage
        if stage is None:
            raise SwitchError("expected a plan that is staged, got none; stage it first")
        dead = [worker for worker in stage.workers.values() if stage.beside and worker.dead() is not None]
        if dead:
            yield from change.staging.drop()
            raise SwitchError(f"a worker of the new plan died before the switch: {dead[0].seat.name}; stage it anew")
        before, lost = supervisor.wiring, lost_frames(supervisor.workers.values())
        self._merge(stage)
        try:
            yield from self._prepare(stage)
            cuts = yield from self._choose(stage)
            stage.passage = replace(stage.passage, cuts=cuts, halted=not stage.beside)
            if not stage.beside:
                yield from self._swap(stage)
        except SwitchError:
            yield from self._withdraw(stage, before)
            raise
        stage.passage, stage.cut = replace(stage.passage, halted=False), True
        supervisor.memory.epoch = stage.epoch
        yield from self._cross(stage, cuts)
        yield from self._watch_results(stage)
        stage.peak = max(stage.peak, (yield from memory(supervisor, supervisor.workers.values())))
        proof = self._proof(stage, lost)
        yield from breath(supervisor)
        yield from self._retire(stage, keep=keep_previous)
        return proof

    def _merge(self, stage: Stage) -> None:
        """From here on the supervisor looks after what comes as after what runs."""
        supervisor = self.supervisor
        supervisor.workers = {**supervisor.workers, **stage.workers}
        supervisor.wiring = stage.both
        self.change.switching = True

    def _kept(self, stage: Stage) -> list[Worker]:
        supervisor = self.supervisor
        return [worker for seat, worker in supervisor.workers.items() if stage.kept(seat) and seat not in supervisor.lost]

    def _leaving(self, stage: Stage) -> list[Worker]:
        return [worker for seat, worker in self.supervisor.workers.items() if stage.leaving(seat)]

    def _lost(self, stage: Stage) -> set[int]:
        """Chains whose workers are not coming back."""
        return {chain.id for seat in self.supervisor.lost for chain in stage.chains(seat.lane)}

    # ---- before the cut

    def _prepare(self, stage: Stage) -> Steps:
        """Workers that run on get to know the new plan, and the memory they share with who comes."""
        supervisor, kept = self.supervisor, self._kept(stage)
        for worker in kept:
            begins = [edge.id for chain in stage.chains(worker.seat.lane) for edge in stage.both.outbound(chain.id)]
            new = [key for edge in begins if edge in stage.passage.begins for key in out_keys(edge)]
            try:
                worker.block.rename(worker.block.layout.changed((), new))
            except ValueError as error:
                raise SwitchError(f"more consumers than a worker can begin at once: {error}") from None
        yield from self._all_ready([*kept, *self._leaving(stage)])
        for worker in kept:
            if stage.knows_both(worker):  # it was started anew meanwhile
                continue
            supervisor.command(
                worker, do="prepare", plan=stage.both_terms.plan_json, passage=as_json(PASSAGE, stage.passage), streams=self.change.streams,
                names=worker.block.layout.names,
            )  # fmt: skip
            supervisor.memory.hand_over(worker, wiring=stage.both, epoch=stage.epoch, since=stage.epoch)
        self._command(self._leaving(stage), do="leave", farewell=as_json(FAREWELL, stage.farewell))
        while not all(worker.seat in stage.prepared for worker in self._kept(stage)):
            self._check(stage)
            yield
        if stage.beside:
            self._open_links(stage)

    @staticmethod
    def _check(stage: Stage) -> None:
        if stage.problem:
            raise SwitchError(f"the new plan cannot run: {stage.problem}")

    def _all_ready(self, workers: list[Worker]) -> Steps:
        while not all(worker.ready for worker in workers if worker.seat not in self.supervisor.lost):
            yield

    def _open_links(self, stage: Stage) -> None:
        """ZeroMQ links of edges that begin; rings are there already."""
        supervisor = self.supervisor
        for link in stage.both.links():
            if link.edge in stage.passage.begins and stage.both.carrier(link) == "zmq":
                address = supervisor.directory.address(f"{link.name}.{stage.epoch}n")
                for end, sending in zip(reversed(stage.both.ends(link)), (False, True), strict=True):
                    order = as_json(ORDER, LinkOrder(link, address, sending))
                    supervisor.command(supervisor.workers[end], do="open", links=[order])

    def _choose(self, stage: Stage) -> Steps:
        """Where each stream is cut; a source that dies meanwhile is waited for, and everything goes on in the old plan until then."""
        rounds = 0
        while True:
            sources = self._sources(stage)
            yield from self._all_ready(list(sources.values()))
            self._check(stage)
            together = []
            for group in groups(stage.succession.both):
                members = tuple(name for name in group.members if name in sources)
                if members:
                    together.append(replace(group, members=members, leader=group.leader if group.leader in members else members[0]))
            stage.cutter = Cutter(together, sources, self.supervisor.command, rounds=rounds, over=set(stage.crossed))
            try:
                return (yield from stage.cutter.choose(halt=not stage.beside))
            except Interrupted:
                rounds = stage.cutter.rounds
                self._command(sources.values(), do="back")

    def _sources(self, stage: Stage) -> dict[str, Worker]:
        """Workers of the streams that run on."""
        workers = {worker.seat: worker for worker in self._kept(stage)}
        found = {chain.stream: workers.get(stage.seat(chain.id)) for chain in stage.succession.both.chains if chain.stream is not None}
        return {stream: worker for stream, worker in found.items() if worker is not None}

    def _command(self, workers: Any, **order: Any) -> None:
        for worker in workers:
            if worker.ready:
                self.supervisor.command(worker, **order)

    # ---- where both do not fit

    def _swap(self, stage: Stage) -> Steps:
        """All sources have stopped before the cut. What leaves is stopped once it has done everything, then what comes is loaded."""
        supervisor, change = self.supervisor, self.change
        stage.waits.clear()
        for stream, worker in self._sources(stage).items():
            self._command([worker], do="hold", stream=stream, start=stage.passage.cuts[stream], round=0)
        while not self._idle(stage):
            self._check(stage)
            yield
        stage.asleep = True
        for worker in self._leaving(stage):
            yield from change.staging.stop(worker)
        stage.starting = True
        try:
            yield from change.staging.start(stage)
        finally:
            stage.starting = False
        stage.peak = yield from memory(supervisor, supervisor.workers.values())
        stage.left.update(chain.id for lane in stage.succession.leaving for chain in stage.chains(lane))
        self._open_links(stage)

    def _idle(self, stage: Stage) -> bool:
        """Whether everything that was sent to those that leave has been processed, and what came of it is safe.

        A source of files that was started anew sends again what it sent before, and then waits at the cut.
        """
        supervisor, both = self.supervisor, stage.both
        files = {name: worker for name, worker in self._sources(stage).items() if not both.plan.stream(name).live}
        if not all(name in stage.crossed or stage.waits.get(name) == worker.incarnation for name, worker in files.items()):
            return False
        counts = {seat: worker.block.snapshot() for seat, worker in supervisor.workers.items() if not stage.coming(seat)}
        for edge in stage.succession.before_leaving():
            given = [counts[seat] for seat in counts if seat.lane == both.lane_of[edge.producer].id]
            taken = [counts[seat] for seat in counts if seat.lane == both.lane_of[edge.consumer].id]
            sent = sum(count[key] * (1 if key.endswith(".in") else -1) for count in given for key in count if _sends(key, edge.id))
            if sent != sum(count[f"taken:{edge.id}.in"] for count in taken):
                return False
            anchored = both.stream_of(edge.producer) == both.stream_of(edge.consumer)
            if anchored and any(count[f"taken:{edge.id}.in"] != count[f"taken:{edge.id}.settled"] for count in taken):
                return False
        return all(worker.block.status()["node"] < 0 for worker in self._leaving(stage))

    # ---- the cut

    def _cross(self, stage: Stage, cuts: Mapping[str, int]) -> Steps:
        """Frames go over; who is left behind finishes and leaves what it has to its heirs."""
        legacies, succession = self.change.legacies, stage.succession
        for worker in self._kept(stage):
            if worker.ready:
                self.tell_cut(worker)
        self._command(() if stage.asleep else self._leaving(stage), do="drain")
        self._command([worker for seat, worker in self.supervisor.workers.items() if stage.coming(seat)], do="go")
        silent = time.monotonic() + SILENCE_S
        heirs = {chain.id for lane in succession.coming for chain in stage.chains(lane)} & legacies.of.keys()
        leaving = {chain.id for lane in succession.leaving for chain in stage.chains(lane)}
        while True:
            lost = self._lost(stage)
            on = cuts.keys() & self._sources(stage).keys()
            if on <= stage.crossed.keys() and leaving <= stage.left | lost and heirs <= stage.inherited | lost and self.passed(stage):
                return
            for chain in heirs - lost:
                if legacies.due(stage, chain):
                    legacies.hand_over(stage, chain)
            late = sorted(stream for stream in on if cuts[stream] != NEVER)
            if not (on <= stage.crossed.keys() and self.passed(stage)) and time.monotonic() > silent:
                silent = time.monotonic() + SILENCE_S
                self._command(self._sources(stage).values(), do="force", streams=late)
            yield

    def tell_cut(self, worker: Worker) -> None:
        """A worker that runs on, or has started anew, may go over. Nobody reads edges to workers that have been stopped."""
        stage = self.change.stage
        assert stage is not None
        for edge in stage.succession.before.edges if stage.asleep else ():
            if edge.id in stage.passage.ends and stage.both.lane_of[edge.producer].id == worker.seat.lane:
                self.supervisor.command(worker, do="detach", edge=edge.id)
        self.supervisor.command(worker, do="cut", cuts=stage.passage.cuts, halted=not stage.beside)

    def passed(self, stage: Stage) -> bool:
        """Whether nothing of the old plan is under way."""
        return all(worker.seat in stage.passed for worker in self._kept(stage))

    def _watch_results(self, stage: Stage) -> Steps:
        """Waits until every output that has changed hands has a result of the new plan."""
        supervisor, legacies = self.supervisor, self.change.legacies.of
        give_up = time.monotonic() + RESULTS_S
        wanted = {(sink, chain) for chain in stage.inherited for sink in legacies[chain].sinks}
        while wanted and time.monotonic() < give_up:
            wanted = {
                (sink, chain)
                for sink, chain in wanted
                if last_row(supervisor.workers[stage.seat(chain)], sink) <= legacies[chain].last.get(sink, 0)
            }
            if wanted:
                yield

    def _proof(self, stage: Stage, lost: int) -> Proof:
        supervisor, succession = self.supervisor, stage.succession
        workers = list(supervisor.workers.values())
        goes_on = {sink.id for sink in succession.before.sinks} & {sink.id for sink in succession.after.sinks}
        return replace(
            differences(succession, succession.heirs),
            last_old={stream: last for stream, (last, _) in stage.crossed.items()},
            first_new={stream: first for stream, (_, first) in stage.crossed.items()},
            gap_ns=gap_of(workers, goes_on | succession.sinks.keys() | set(succession.sinks.values())),
            lost=lost_frames(workers) - lost,
            memory_peak_bytes=stage.peak,
        )

    # ---- after it

    def _retire(self, stage: Stage, *, keep: bool) -> Steps:
        """What only the old plan had ends, or rests; its memory is given back."""
        supervisor, change, succession = self.supervisor, self.change, stage.succession
        ended = [key for edge in succession.ends for key in out_keys(edge)]
        stage.final = stage.new_terms
        stage.last_word = {"do": "retire", "plan": stage.final.plan_json, "pools": supervisor.memory.superfluous(stage.wiring)}
        for worker in self._kept(stage):
            change.bank.take(worker, stage, only=ended)
            worker.block.rename(worker.block.layout.changed(ended, ()))
            if worker.ready:
                self.tell_last_word(worker)
        leaving, resting = self._leaving(stage), []
        for worker in leaving:
            change.bank.take(worker, stage)
            if keep and not stage.asleep and change.spares.keep(worker):
                resting.append(worker)
            else:
                yield from change.staging.stop(worker)
        while not all(worker.seat in stage.retired for worker in self._kept(stage)):
            yield
        self._finish(stage)
        for worker in leaving:
            if worker not in resting:
                worker.close()

    def tell_last_word(self, worker: Worker) -> None:
        """A worker that runs on, or has started anew, knows one plan alone from now on."""
        stage = self.change.stage
        assert stage is not None
        self.supervisor.command(worker, **stage.last_word, names=worker.block.layout.names)

    def _finish(self, stage: Stage) -> None:
        """The new plan is the running one."""
        supervisor, change, succession = self.supervisor, self.change, stage.succession
        gone = {sink.id for sink in succession.before.sinks} - {sink.id for sink in succession.after.sinks}
        for sink in gone & supervisor.inboxes.keys():
            supervisor.inboxes[sink].close()
        supervisor.inboxes = {sink: inbox for sink, inbox in supervisor.inboxes.items() if sink not in gone}
        supervisor.workers = {seat: worker for seat, worker in supervisor.workers.items() if not stage.leaving(seat)}
        supervisor.wiring, supervisor.plan = stage.wiring, succession.after
        supervisor.stopped -= {business for node in succession.after.nodes for business in node.businesses}
        supervisor.memory.reduce(stage.wiring, supervisor.workers)
        supervisor.nodes = {node.address: node for node in succession.after.nodes}
        supervisor.lost &= supervisor.workers.keys()
        supervisor.opened = Counter({link: supervisor.opened[link] for link in stage.wiring.links()})
        change.legacies.forget({chain.id for lane in succession.leaving for chain in stage.chains(lane)})
        change.became(stage)

    def _withdraw(self, stage: Stage, before: Wiring) -> Steps:
        """No cut stands: everything goes on in the old plan."""
        supervisor, change = self.supervisor, self.change
        new = [key for edge in stage.passage.begins for key in out_keys(edge)]
        stage.final = change.own_terms
        stage.last_word = {"do": "withdraw", "plan": stage.final.plan_json}
        if stage.asleep:
            stage.asleep = False
            for worker in self._leaving(stage):
                supervisor.start(worker)
            yield from self._all_ready(self._leaving(stage))
        for worker in self._kept(stage):
            worker.block.rename(worker.block.layout.changed(new, ()))
            if worker.ready:
                self.tell_last_word(worker)
        self._command(self._leaving(stage), do="stay")
        while not all(worker.seat in stage.retired for worker in self._kept(stage)):
            yield
        supervisor.workers = {seat: worker for seat, worker in supervisor.workers.items() if seat not in stage.workers}
        supervisor.wiring = before
        supervisor.lost -= stage.workers.keys()
        change.switching = False
        yield from change.staging.drop()


def _sends(key: str, edge: int) -> bool:
    return key == f"edge:{edge}.in" or key.startswith(f"edge:{edge}.dropped:")
