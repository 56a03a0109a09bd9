"""Makes a plan ready beside the running one: its memory, its workers; and gives it up again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from devices.cpu import usable_cores
from flow.executor.results import ResultsInbox
from flow.executor.workers import Worker
from flow.plan.outputs import RESULTS
from flow.plan.value import Plan
from flow.pool import PoolError
from flow.switch.cut import Steps, breath
from flow.switch.error import SwitchError
from flow.switch.peak import memory
from flow.switch.proof import differences
from flow.switch.stage import Stage
from flow.switch.succession import Succession, succeed
from flow.switch.terms import terms
from flow.wiring import Seat, Wiring
from flow.worker.setup import Passage

if TYPE_CHECKING:
    from flow.switch.change import PlanChange

START_S = 120.0
STOP_S = 5.0


class Staging:
    """Steps of a PlanChange before the switch."""

    def __init__(self, change: PlanChange) -> None:
        self.change, self.supervisor = change, change.supervisor

    def stage(self, plan: Plan, *, beside: bool = True) -> Steps:
        """Starts what is new, beside what runs (or, where both do not fit, notes what will be); gives a Proof of what will change."""
        change, supervisor = self.change, self.supervisor
        yield from self.drop()
        if not supervisor.running:
            raise SwitchError("expected a run whose workers are ready, got one that is still starting")
        succession = succeed(supervisor.plan, plan, change.numbers, broken=self._broken())
        yield from breath(supervisor)
        epoch = change.epoch + 1
        known = terms(succession.after, epoch), terms(succession.both, change.epoch)
        yield from breath(supervisor)
        both = Wiring(succession.both, change.streams)
        after = Wiring(succession.after, both.streams)
        change.streams = list(both.streams)
        fresh = {seat: self._worker(seat, after) for seat in after.seats() if seat.lane in succession.coming}
        stage = Stage(
            succession, after, both, epoch, fresh, self._new_inboxes(succession, after, fresh), *known,
            Passage(epoch, plan.digest, succession.ends, succession.begins, {}), beside,
        )  # fmt: skip
        try:
            supervisor.memory.extend(both, after, {**supervisor.workers, **fresh}, epoch)
        except (PoolError, OSError):
            for worker in fresh.values():
                worker.close()
            raise
        change.stage = stage
        change.legacies.bequeath(stage)
        supervisor.inboxes = {**supervisor.inboxes, **stage.inboxes}
        supervisor.nodes.update((node.address, node) for node in succession.after.nodes)
        yield from breath(supervisor)
        if beside:
            try:
                yield from self.start(stage)
            except SwitchError:
                yield from self.drop()
                raise
            stage.peak = yield from memory(supervisor, [*supervisor.workers.values(), *fresh.values()])
        return differences(succession, succession.heirs)

    def _broken(self) -> set[int]:
        """Lanes that shall not run on: lost ones, and those with work of businesses that have stopped."""
        supervisor = self.supervisor
        plan, wiring, stopped = supervisor.plan, supervisor.wiring, supervisor.stopped
        of = {address: lane.id for chain, lane in wiring.lane_of.items() for address in wiring.chains[chain].nodes}
        writes = {sink: lane.id for chain, lane in wiring.lane_of.items() for sink in wiring.chains[chain].sinks}
        broken = {seat.lane for seat in supervisor.lost}
        broken |= {of[node.address] for node in plan.nodes if stopped.intersection(node.businesses)}
        return broken | {writes[sink.id] for sink in plan.sinks if sink.business in stopped}

    def _worker(self, seat: Seat, wiring: Wiring) -> Worker:
        lane = wiring.lanes[seat.lane]
        worker = Worker(seat, wiring.layout(lane), threads=lane.threads, device=lane.device)
        worker.plan = wiring.plan
        self.change.spares.lend(worker, wiring)
        return worker

    def _new_inboxes(self, succession: Succession, wiring: Wiring, fresh: Mapping[Seat, Worker]) -> dict[int, ResultsInbox]:
        """Inboxes of outputs that begin."""
        supervisor = self.supervisor
        old = {sink.id for sink in succession.before.sinks} | succession.sinks.keys()
        discarding = bool(supervisor.inboxes) and all(inbox.discarding for inbox in supervisor.inboxes.values())
        made = {}
        for sink in succession.after.sinks:
            if sink.target == RESULTS and sink.id not in old:
                made[sink.id] = ResultsInbox(sink, supervisor.arrived, fresh[wiring.writer(sink.id)].bell)
                made[sink.id].discarding = discarding
        return made

    def start(self, stage: Stage) -> Steps:
        """Starts the new workers and waits until each has loaded what it needs. Raises SwitchError.

        Beside what runs only so many load at once that a core is left to those that carry frames.
        """
        waiting = list(stage.workers.values())
        at_once = max(1, usable_cores() - 1) if stage.beside else len(waiting)
        give_up = time.monotonic() + START_S
        while not all(worker.ready for worker in stage.workers.values()) or stage.problem:
            started = [worker for worker in stage.workers.values() if worker not in waiting]
            if waiting and sum(not worker.ready for worker in started) < at_once:
                self.supervisor.start(waiting.pop(0))
                self.supervisor.poke()
            for worker in started:
                cause = worker.dead()
                if cause is not None:
                    stage.problem = stage.problem or worker.last_words() or f"{worker.seat.name} died as it was started: {cause}"
            if stage.problem:
                raise SwitchError(f"the new plan cannot start: {stage.problem}")
            if time.monotonic() > give_up:
                raise SwitchError(f"the new plan cannot start: expected its workers ready in {START_S:.0f} s, got some that are not")
            yield

    def drop(self) -> Steps:
        """What is staged is given up: nothing has happened."""
        change, supervisor, stage = self.change, self.supervisor, self.change.stage
        if stage is None:
            return
        for worker in stage.workers.values():
            yield from self.stop(worker)
        supervisor.memory.reduce(supervisor.wiring, supervisor.workers)
        supervisor.inboxes = {sink: inbox for sink, inbox in supervisor.inboxes.items() if sink not in stage.inboxes}
        for inbox in stage.inboxes.values():
            inbox.close()
        for worker in stage.workers.values():
            worker.close()
        change.legacies.forget({chain for lane in stage.succession.coming for chain in stage.wiring.lanes[lane].chains})
        change.stage = None

    def stop(self, worker: Worker, order: str = "stop") -> Steps:
        """Ends a worker that is not part of the run (any more)."""
        if worker.ready and not worker.gone:
            self.supervisor.command(worker, do=order)
        give_up = time.monotonic() + STOP_S
        while not worker.gone and worker.dead() is None and (worker.ready or worker.process is None) and time.monotonic() < give_up:
            yield
        worker.kill()
        worker.join(2.0)
        worker.dismiss()
        worker.gone, worker.ready = True, False
