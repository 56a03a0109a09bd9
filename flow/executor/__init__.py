"""Runs a plan: `with Executor(plan) as run: for result in run.results("pets"): …`."""

from __future__ import annotations

import contextlib
import queue
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Literal, Self

from flow.executor.report import make_report, totals
from flow.executor.results import ResultsInbox
from flow.executor.shadow import Shadow
from flow.executor.supervisor import Supervisor
from flow.plan.value import Plan, Sample
from flow.result import Result
from flow.switch.error import SwitchError
from flow.switch.proof import Proof, memory_of
from flow.switch.succession import Numbers, Succession, succeed
from flow.worker.turns import short_turns

WAIT_S = 0.2


class RunError(Exception):
    """A run that failed: what was tried, what happened, what to do next."""


class Executor:
    """Runs a plan in the background until its sources end.

    `frames` ends every stream after so many frames. `on_event` is called from the executor's thread with what happens
    (`running`, `error`, `died`, `poison`, `lost`, …), each with a `message`. Leaving the context stops the run.
    """

    def __init__(self, plan: Plan, *, frames: int | None = None, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.plan, self.frames = plan, frames
        self._on_event = on_event
        self._supervisor: Supervisor | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._started = self._ended = 0.0
        self._cpu_start = 0.0
        self._final: dict[str, Any] | None = None
        self._running = threading.Event()
        self._staged: Plan | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Compiles what must be compiled, then starts the workers. Raises RunError when memory or folders cannot be had, KernelError where
        compiling fails."""
        from flow.pool import PoolError
        from flow.prepare import ready

        ready(self.plan)
        self._started = time.monotonic()
        self._cpu_start = _cpu_of_this_process() + _cpu_of_children()
        try:
            self._supervisor = Supervisor(self.plan, frames=self.frames, on_event=self._event)
        except (PoolError, OSError) as error:
            raise RunError(f"the run cannot start: {error}") from error
        self._thread = threading.Thread(target=self._run, name="ace-supervisor", daemon=True)
        self._thread.start()

    def _event(self, event: dict[str, Any]) -> None:
        if event["event"] == "running":
            self._running.set()
        if self._on_event is not None:
            self._on_event(event)

    def _run(self) -> None:
        assert self._supervisor is not None
        try:
            with short_turns() if self.plan.workers == "threads" else contextlib.nullcontext():
                self._supervisor.run()
        except BaseException as error:  # told to whoever waits for the run
            self._error = error
        finally:
            self._ended = time.monotonic()
            self._running.set()

    @property
    def failed(self) -> str | None:
        """What went wrong so far, or None."""
        if self._error is not None:
            return f"the executor itself failed: {type(self._error).__name__}: {self._error}"
        if self._supervisor is not None and self._supervisor.failed:
            return "; ".join(self._supervisor.problems[-3:])
        return None

    @property
    def leaked_slots(self) -> int:
        """Shared slots that somebody still held at the end; 0 after an orderly one."""
        return 0 if self._supervisor is None else self._supervisor.leaked

    def wait_running(self, timeout_s: float | None = None) -> bool:
        """Waits until every worker is ready (or the run is over)."""
        return self._running.wait(timeout_s)

    def results(self, *outputs: str) -> Iterator[Result]:
        """Results of these outputs (`pets`, or `pet.pets`; none named: of all) as they come, until the run ends.

        Results of other outputs are let go. Raises RunError for a name that is none, and when the executor itself fails.
        """
        supervisor = self._running_supervisor()
        wanted = {inbox.name for output in outputs for inbox in [self._inbox(output)]}
        for inbox in supervisor.inboxes.values():
            inbox.discarding = bool(wanted) and inbox.name not in wanted
        while (arrival := supervisor.arrived.get()) is not None:
            inbox, result = arrival
            inbox.read += 1
            if inbox.held_back:
                supervisor.poke()
            if not wanted or inbox.name in wanted:
                yield result
        supervisor.arrived.put(None)
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise RunError(self.failed or "") from self._error

    def _inbox(self, output: str) -> ResultsInbox:
        inboxes = self._running_supervisor().inboxes.values()
        found = [inbox for inbox in inboxes if output in (inbox.sink.output, f"{inbox.sink.business}.{inbox.sink.output}")]
        if len(found) != 1:
            names = sorted(f"{inbox.sink.business}.{inbox.sink.output}" for inbox in inboxes)
            raise RunError(f"expected one of the outputs that come to this process ({', '.join(names) or 'none'}), got {output!r}")
        return found[0]

    def _running_supervisor(self) -> Supervisor:
        if self._supervisor is None:
            raise RunError("expected a run that was started, got one that was not: use `with Executor(plan) as run`")
        return self._supervisor

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end; False when it has not come in `timeout` seconds. Results nobody reads are let go."""
        assert self._supervisor is not None, "start the run first"
        assert self._thread is not None
        for inbox in self._supervisor.inboxes.values():
            inbox.discarding = True
        until = None if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive() and (until is None or time.monotonic() < until):
            self._let_go()
            self._thread.join(WAIT_S if until is None else max(0.0, min(WAIT_S, until - time.monotonic())))
        return not self._thread.is_alive()

    def _let_go(self) -> None:
        """Results that came before anybody said that nobody reads them."""
        arrived = self._running_supervisor().arrived
        with contextlib.suppress(queue.Empty):
            while (arrival := arrived.get_nowait()) is not None:
                arrival[0].read += 1
            arrived.put(None)

    # ---- other plans

    @property
    def running_plan(self) -> Plan:
        """The plan that runs, in the numbers of its workers and counters."""
        return self._running_supervisor().plan

    @property
    def change_state(self) -> Literal["running", "staged", "switching"]:
        """Whether another plan is ready, or being switched to."""
        change = self._running_supervisor().change
        return "switching" if change.switching else "staged" if change.stage is not None else "running"

    def succession(self, plan: Plan) -> Succession:
        """How a plan would follow the running one. Raises Misfit when it cannot."""
        return succeed(self.running_plan, plan, Numbers(self.running_plan))

    def stage(self, plan: Plan, *, beside: bool = True, timeout_s: float | None = None) -> Proof:
        """Loads what a plan has that the running one has not, beside it; says what a switch would keep, carry over, reset.

        Not `beside`: where both do not fit, the switch stops what leaves before it loads what comes. Files wait meanwhile, a camera's
        frames are dropped and counted. Plans that change while they run are made with `live=True`.

        Raises SwitchError when it cannot be started or the run is over; then nothing has happened. TimeoutError after `timeout_s`, while it
        goes on.
        """
        staged: Proof = self._change("stage", timeout_s, plan=plan, beside=beside)
        self._staged = plan
        return staged

    def switch(self, *, keep_previous: bool = False, timeout_s: float | None = None) -> Proof:
        """Cuts over to the plan that is staged; no frame is lost, none processed twice. Raises SwitchError; then the old plan runs on.

        `keep_previous`: workers of the old plan keep their models loaded, where memory allows, until `settle`: staging it again is quick.
        """
        proof: Proof = self._change("switch", timeout_s, keep_previous=keep_previous)
        assert self._staged is not None
        self.plan, self._staged = self._staged, None
        return proof

    def settle(self, *, timeout_s: float | None = None) -> None:
        """What was kept of earlier plans is given up."""
        self._change("settle", timeout_s)

    def unstage(self, *, timeout_s: float | None = None) -> None:
        """Gives up what is staged."""
        self._change("drop", timeout_s)
        self._staged = None

    def watch_shadow(self, row: Callable[[int, Mapping[str, Any]], None] | None) -> Shadow:
        """What only tries something out in this run; `row` is called from the executor's thread with (sink, row)."""
        shadow = self._running_supervisor().shadow
        shadow.row, shadow.problem = row, ""
        return shadow

    def sample(self, every: int, taps: Mapping[int, Sample], *, give_up: str = "", timeout_s: float | None = None) -> None:
        """Shadows get one frame (or span) in `every`; sinks in `taps` tell rows of these. With `give_up`, the reason, shadows end now."""
        done: Future[None] | None = Future() if give_up else None
        taken = self._running_supervisor().order("shadow", every=every, taps=dict(taps), why=give_up, future=done)
        if done is not None and taken and not self._ended:
            done.result(timeout_s)

    def counters(self) -> Counter[str]:
        """All counters of the ledger, those of workers that are gone included, with `restarts` and `poison`."""
        supervisor = self._running_supervisor()
        workers = list(supervisor.workers.values())
        total = totals(workers)
        total.update(supervisor.change.bank.counts)
        total["restarts"] += sum(worker.restarts for worker in workers)
        total["poison"] += len(supervisor.poison)
        return total

    @property
    def problems(self) -> list[str]:
        """What has gone wrong so far, in order."""
        return list(self._running_supervisor().problems)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self._ended > 0

    def memory_bytes(self) -> int:
        """Memory that the workers have to themselves, and that they share."""
        supervisor = self._running_supervisor()
        return memory_of(list(supervisor.workers.values())) + supervisor.shared_bytes()

    def _change(self, what: str, timeout_s: float | None, **fields: Any) -> Any:
        supervisor = self._running_supervisor()
        done: Future[Any] = Future()
        if self._ended or not supervisor.order("change", what=what, future=done, **fields):
            raise SwitchError("expected a run that goes on, got one that has ended")
        return done.result(timeout_s)

    # ---- the end

    def drain(self) -> None:
        """Asks for a graceful end: sources stop, what is in flight comes out."""
        if self._supervisor is not None and self._ended == 0.0:
            self._supervisor.order("drain")

    def stop(self) -> None:
        """Ends the run at once and waits for it."""
        if self._thread is None:
            return
        if self._ended == 0.0 and self._supervisor is not None:
            self._supervisor.order("stop")
        self._thread.join()

    def snapshot(self) -> dict[str, Any]:
        """The report as of now."""
        assert self._supervisor is not None, "start the run first"
        supervisor = self._supervisor
        return make_report(
            supervisor.plan, supervisor.workers.values(), shared_memory_bytes=supervisor.shared_bytes(), cpu_seconds=self._cpu(),
            wall_seconds=(self._ended or time.monotonic()) - self._started, poison=supervisor.poison, problems=supervisor.problems,
            retired=supervisor.change.bank.counts,
        )  # fmt: skip

    def report(self) -> dict[str, Any]:
        """The report of the whole run; waits for its end as `wait` does."""
        if self._thread is not None and self._thread.is_alive():
            self.wait()
        return self.snapshot()

    def _cpu(self) -> float:
        assert self._supervisor is not None
        nursery = supervisor.nursery.cpu_s() if (supervisor := self._supervisor).nursery is not None else 0.0
        live = sum(
            worker.process.cpu_s()
            for worker in self._supervisor.workers.values()
            if worker.process is not None and worker.process.returncode is None
        )
        return _cpu_of_this_process() + _cpu_of_children() + nursery + live - self._cpu_start


def _cpu_of_this_process() -> float:
    return time.process_time()


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
