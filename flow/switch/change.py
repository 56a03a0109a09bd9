"""The running plan and its change, in the executor: what comes is started beside what runs, then frames go over, then what is left ends.

Everything here happens in the supervisor's thread, a bit at a time between its other duties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flow.executor.workers import Worker
from flow.pool import PoolError
from flow.switch.bank import Bank
from flow.switch.cut import Steps
from flow.switch.error import SwitchError
from flow.switch.legacy import Legacies, refuse
from flow.switch.spares import Spares
from flow.switch.stage import Stage
from flow.switch.staging import Staging
from flow.switch.succession import Misfit, Numbers
from flow.switch.switching import Switching
from flow.switch.terms import Terms, terms
from flow.wiring import Seat

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor


class PlanChange:
    """`take` gives it something to do, `turn` lets it go on."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        plan = supervisor.plan
        self.numbers = Numbers(plan)
        self.epoch = 0
        self.streams = list(supervisor.wiring.streams)
        """Names of all streams that ever were, by number."""
        self.own_terms = terms(plan, 0, digest=plan.digest)
        """Of workers of the running plan."""
        self.stage: Stage | None = None
        self.switching = False
        self.legacies = Legacies(supervisor)
        self.spares = Spares()
        self.bank = Bank(supervisor)
        self.staging = Staging(self)
        self._switching = Switching(self)
        self._task: tuple[Steps, Future[Any]] | None = None

    # ---- what is asked

    @property
    def active(self) -> bool:
        """Whether something is being done."""
        return self._task is not None

    def take(self, what: str, future: Future[Any], **fields: Any) -> None:
        """`stage`, `switch`, `drop` or `settle`; the future gets what comes of it."""
        if self._task is not None:
            future.set_exception(SwitchError("expected one change of plans at a time, got a second; wait for the first"))
            return
        tasks: dict[str, Callable[..., Steps]] = {
            "stage": self.staging.stage, "switch": self._switching.switch, "drop": self.staging.drop, "settle": self.spares.release,
        }  # fmt: skip
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

    def became(self, stage: Stage) -> None:
        """The plan that was staged is the running one."""
        self.epoch, self.own_terms = stage.epoch, stage.new_terms
        self.stage, self.switching = None, False

    # ---- what the supervisor asks

    @property
    def staged(self) -> dict[Seat, Worker]:
        """Workers that are not part of the run yet."""
        if self.stage is None or (self.switching and not self.stage.starting):
            return {}
        return self.stage.workers

    def terms(self, worker: Worker) -> Terms:
        """What a worker is started with."""
        stage, lane, legacies = self.stage, worker.seat.lane, self.legacies
        if stage is not None and stage.coming(worker.seat):
            return legacies.held(stage.new_terms, stage.wiring, lane)
        if stage is None or not self.switching:
            return legacies.held(self.own_terms, self.supervisor.wiring, lane)
        if stage.leaving(worker.seat):
            known = replace(self.own_terms, farewell=stage.farewell if stage.final is None else None)
            return legacies.held(known, stage.both, lane, left=stage.left)
        known = stage.final if stage.final is not None else replace(stage.both_terms, passage=stage.passage)
        return legacies.held(known, stage.both, lane)

    def over(self, worker: Worker) -> bool:
        """Whether a worker that has died was not needed any more."""
        stage = self.stage
        if stage is None or not self.switching or not stage.leaving(worker.seat):
            return False
        everything = {chain.id for chain in stage.chains(worker.seat.lane)} <= stage.left and self._switching.passed(stage)
        return stage.asleep or everything

    def lost(self, worker: Worker, message: str) -> None:
        """A worker is not coming back."""
        if self.stage is not None and self.switching and self.stage.coming(worker.seat):
            self.stage.problem = message

    def handle(self, worker: Worker, event: dict[str, Any]) -> bool:
        """Takes in what a worker tells about the change; whether that was all there was to it."""
        stage, seat = self.stage, worker.seat
        if seat in self.staged:
            return self._staged_says(worker, event)
        if event["event"] == "ready":
            self._started(worker)
            return False
        if stage is None:
            return bool(event["event"] == "inherited")
        match event["event"]:
            case "prepared":
                stage.prepared.add(seat)
            case "passed":
                stage.passed.add(seat)
            case "retired" | "withdrawn":
                stage.retired.add(seat)
            case "left":
                stage.left_by(event["chain"], seat.replica)
            case "inherited":
                stage.inherited.add(event["chain"])
                refuse(stage, event["refused"])
            case "crossed" | "at" | "held" | "waits":
                if event["event"] == "crossed":
                    stage.crossed.setdefault(event["stream"], (event["last"], event["first"]))
                if event["event"] in ("at", "waits") or (event["event"] == "held" and not event["round"]):
                    stage.waits[event["stream"]] = worker.incarnation
                if stage.cutter is not None:
                    stage.cutter.told(event)
            case _:
                return False
        return True

    def _staged_says(self, worker: Worker, event: dict[str, Any]) -> bool:
        assert self.stage is not None
        match event["event"]:
            case "ready":
                worker.ready = True
            case "business_failed" | "error":
                self.stage.problem = self.stage.problem or str(event["message"])
            case "grow":
                return False
        return True

    def _started(self, worker: Worker) -> None:
        """A worker of the run has started (anew): it is told where the others are."""
        stage, seat = self.stage, worker.seat
        if stage is not None and self.switching:
            if stage.leaving(seat):
                order = "stay" if stage.final is not None else "drain" if stage.cut else None
                if order is not None:
                    self.supervisor.command(worker, do=order)
            elif stage.kept(seat) and stage.final is not None and worker.plan is stage.final.plan:
                stage.retired.add(seat)
            elif stage.kept(seat) and stage.final is not None:
                self._switching.tell_last_word(worker)
            elif stage.kept(seat) and stage.knows_both(worker):
                stage.prepared.add(seat)
                if stage.cut:
                    self._switching.tell_cut(worker)
        self.legacies.again(worker, self.supervisor.wiring, set() if stage is None else stage.left)

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
        """Frees what is staged, and what rests."""
        for worker in self.staged.values():
            worker.close()
        self.spares.close()
