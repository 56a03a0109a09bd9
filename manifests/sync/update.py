"""The update state machine of a device: one small step at a time, each written down before it is taken.

IDLE → RESOLVE → RESERVE → FETCH → STAGED → PRELOAD → GATE → SWAP → PROBATION → COMMITTED, with SHADOW before PRELOAD where a trial is
asked for; from SWAP and PROBATION ROLLING_BACK → ROLLED_BACK; from each state before SWAP FAILED, and SUPERSEDED by a newer desired
state. A cut at any point goes on where the database says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from manifests.bundle.canonical import BundleError
from manifests.store.collect import collect
from manifests.store.database import is_full
from manifests.store.generations import FACTORY
from manifests.store.reset import apply_reset, is_requested
from manifests.store.store import Store
from manifests.sync import activate, intake, outbox, prepare
from manifests.sync.clock import TrustedClock
from manifests.sync.context import Context
from manifests.sync.desired import Desired
from manifests.sync.fetch import Fetcher
from manifests.sync.health import Limits
from manifests.sync.outbox import Report, post
from manifests.sync.runtime import Health, Runtime
from manifests.sync.shadow import shadow
from manifests.sync.states import AFTER_SWAP, BEFORE_SWAP, FINAL, MAX_TRANSITIONS, Failed, Machine, Next, Pause, State, backoff, load, save
from manifests.sync.trust import Verifier

PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
RECONCILE_S = 5.0
REFUSALS = 3
"""How often an engine may refuse the active release before the one before it is taken."""
REMEMBER_S = 300.0
WINDOW_S = 600.0
WINDOWS = 16

QUIET = frozenset({State.IDLE, State.RESOLVE, State.RESERVE, State.FETCH, State.STAGED, State.SHADOW})
"""Nothing lies in the engine beside what runs, or nothing that could not begin anew, so that it may be given what should run."""

STEPS: Mapping[State, Callable[[Context, Machine], Next | None]] = {
    State.RESOLVE: prepare.resolve,
    State.RESERVE: prepare.reserve_space,
    State.FETCH: prepare.fetch,
    State.STAGED: prepare.staged,
    State.SHADOW: shadow,
    State.PRELOAD: prepare.preload,
    State.GATE: activate.gate,
    State.SWAP: activate.swap,
    State.PROBATION: activate.probation,
    State.ROLLING_BACK: activate.roll_back,
}


class Updater:
    """Brings a device to its desired state. One thread calls `boot` once, then `step` for ever, `submit` as desired states come.

    Neither a broken engine, network, disk nor update raises out of `step`. `device` is this device's name, `device_file` its own Device
    manifest, `gate` tells (given what runs) why now is no good moment to switch.
    """

    def __init__(
        self, store: Store, runtime: Runtime, fetcher: Fetcher, verifier: Verifier, clock: TrustedClock, *, device: str,
        device_file: Path | None = None, gate: Callable[[Desired], str] = lambda _: "", limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self._context = Context(store, runtime, fetcher, verifier, clock, device, device_file, gate, limits or Limits())
        self._store, self._clock = store, clock
        clock.remembered(float(store.fact("time", 0.0)))
        self._pauses = 0
        self._paused_until = 0.0
        self._why = ""
        self._refused = 0
        self.reason = ""
        """Of the last step: why an update failed or goes back; empty for all others."""
        self._reconcile_at = self._write_at = 0.0
        self._seen: Health | None = None
        self._seen_at = clock.now()

    @property
    def state(self) -> State:
        """Where the update is."""
        return load(self._store).state

    @property
    def waiting_for(self) -> str:
        """What the update waits for just now; empty where it goes on."""
        return self._why if self._clock.now() < self._paused_until else ""

    @property
    def held_back(self) -> str:
        """What an update that is ready waits for, before it is loaded or switched to; empty where there is none."""
        return self.waiting_for if self.state in (State.STAGED, State.GATE) else ""

    @property
    def desired(self) -> Desired:
        """What is active: the desired state that runs, or is on probation."""
        return self._context.active().desired

    @property
    def problem(self) -> str:
        """Why the engine does not run what it should; empty where it does."""
        return self._why if self._store.fact("reconcile") else ""

    @property
    def full(self) -> str:
        """What a disk without any room means for this device; empty where it has some."""
        if not self._store.database.detached:
            return ""
        return "the disk is full: what was active goes on, and what changes is kept in memory until there is room; free some"

    def is_done(self, revision: int) -> bool:
        """Whether this revision, or a newer one, runs and has proven itself."""
        return load(self._store).state in (State.IDLE, State.COMMITTED) and self.desired.revision >= revision

    def engine_is_new(self) -> None:
        """The engine was started anew: it runs nothing, and is given what it should run. Raises OSError, sqlite3.Error."""

        def note() -> None:
            with self._store.transaction():
                self._store.state("reconcile", 1)

        self._carry_on(note)
        self._resume()
        self._reconcile_at = 0.0

    def submit(self, envelope: bytes, *, source: str = "") -> bool:
        """Takes a signed desired state; False for the one that is wanted already. `source`: where its blobs are, empty for the cloud.

        Raises Untrusted (with a report), OSError, sqlite3.Error: then nothing has changed.
        """
        fresh = intake.submit(self._context, envelope, source)
        if fresh:
            self._forget()
        return fresh

    def reports(self, limit: int = 100) -> list[Report]:
        """The oldest reports that nobody has acknowledged."""
        return outbox.waiting(self._store, limit)

    def acknowledge(self, seq: int) -> None:
        """The cloud has all reports up to this one."""
        outbox.acknowledge(self._store, seq)

    def boot(self) -> None:
        """Goes on after a start: counts it, and runs nothing that is damaged or was started too often. Raises OSError, sqlite3.Error."""
        self._carry_on(self._boot)

    def _boot(self) -> None:
        apply_reset(self._store)
        machine = load(self._store)
        store = self._store
        with store.transaction():
            store.state("time", self._clock.now())
            store.state("reconcile", 1)
        if (floor := store.fact("floor")) is not None:
            with suppress(OSError):
                store.raise_floor(int(floor))
        sound = store.generations.is_sound(self._context.active())
        if machine.state in (State.IDLE, *FINAL):
            if not sound:
                self._fall_back("damaged")
            return
        machine = replace(machine, boots=machine.boots + 1, transitions=machine.transitions + 1)
        with store.transaction():
            save(store, machine)
        if machine.state in AFTER_SWAP and not sound:
            self._fail(machine, "damaged", "expected every byte of the new release on the disk, got other ones")
        elif not activate.survived(machine):
            self._fail(machine, "boots", f"expected the device to stay up, got {machine.boots} starts during this update")
        elif machine.state is State.GATE:
            self._go(machine, Next(State.PRELOAD))

    def step(self) -> State:
        """Does what is next; soon over, but for a call to the engine. Returns the state after it."""
        try:
            self._write_back()
            if is_requested(self._store) and not self._store.database.detached:
                apply_reset(self._store)
                self._forget()
            machine = load(self._store)
            if self._store.fact("reconcile") and machine.state in QUIET and self._clock.now() >= self._reconcile_at:
                self._carry_on(self._reconcile)
            elif self._clock.now() >= self._paused_until or self._overdue(machine) or self._newer(machine):
                self._next(machine)
            return load(self._store).state
        except (OSError, sqlite3.Error, BundleError, LookupError) as error:
            return self._stumble(error)

    def _next(self, machine: Machine) -> None:
        if machine.state in FINAL:
            self._finish(machine)
        elif machine.state is State.IDLE:
            self._idle()
        elif self._newer(machine):
            self._go(machine, Next(State.SUPERSEDED, "newer", "a newer desired state has come"))
            prepare.drop(self._context, machine)
        elif machine.transitions >= MAX_TRANSITIONS and machine.state is not State.ROLLING_BACK:
            self._fail(machine, "loop", f"expected at most {MAX_TRANSITIONS} steps in one update, got more")
        else:
            self._act(machine)

    def _act(self, machine: Machine) -> None:
        """Tries the state's step; one that is over its time and does not go on has failed."""
        try:
            following = STEPS[machine.state](self._context, machine)
        except Pause as pause:
            self._pause(str(pause))
            following = None
        except Failed as failed:
            self._fail(machine, failed.code, str(failed), failed.report)
            return
        else:
            self._resume()
        if following is not None:
            self._go(machine, following)
        elif self._overdue(machine):
            self._fail(machine, "deadline", f"expected {machine.state.value} to end in time{self._why and ': ' + self._why}")

    def _go(self, machine: Machine, following: Next) -> None:
        """Writes down where the update is now, and a report of it."""
        now, state, store = self._clock.now(), following.state, self._store
        stays = state is machine.state
        machine = replace(machine, **following.changes, state=state, transitions=machine.transitions + 1)
        if not stays:
            machine = replace(machine, entered=now, deadline=activate.deadline(state, now, self._own_time(machine)))
        body = {"kind": "update", "revision": machine.revision, "state": state.value, "at": now, **following.report}
        if following.code:
            body |= {"code": following.code, "reason": following.reason}
        with store.transaction():
            if following.within is not None:
                following.within()
            save(store, machine)
            store.state("time", now)
            post(store, body, final=state in FINAL)
        self.reason = following.reason
        self._resume()

    def _fail(self, machine: Machine, code: str, reason: str, report: Mapping[str, Any] | None = None) -> None:
        """Before the switch the update has failed and nothing else has happened; after it, it goes back."""
        if machine.state in BEFORE_SWAP:
            self._go(machine, Next(State.FAILED, code, reason, report=report or {}, within=lambda: self._count(machine, code)))
            prepare.drop(self._context, machine)
        elif machine.state in AFTER_SWAP:
            changes = {"code": code, "reason": reason}
            self._go(
                machine, Next(State.ROLLING_BACK, code, reason, changes, within=lambda: activate.go_back(self._context))
            )  # fmt: skip
        elif machine.state is State.ROLLING_BACK:
            self._go(
                machine,
                Next(
                    State.ROLLED_BACK, machine.code, machine.reason, report={"pending": reason},
                    within=lambda: activate.runs(self._context, -1),
                ),
            )  # fmt: skip

    def _finish(self, machine: Machine) -> None:
        """An update has ended: counts what failed, collects what nobody needs, and waits for the next."""
        store = self._store
        with store.transaction():
            if machine.state is State.ROLLED_BACK:
                self._count(machine, machine.code)
            elif machine.state is State.COMMITTED:
                store.database.change("DELETE FROM failure")
            save(store, Machine())
        self.reason = ""
        self._forget()
        collect(store)

    def _count(self, machine: Machine, code: str) -> None:
        """It is tried again, later each time. Stands inside a transaction."""
        count = int(self._store.database.value("SELECT count FROM failure WHERE digest = ?", machine.digest) or 0) + 1
        retry = self._clock.now() + backoff(count, code)
        self._store.database.change("INSERT OR REPLACE INTO failure (digest, count, retry) VALUES (?, ?, ?)", machine.digest, count, retry)

    def _idle(self) -> None:
        store, now = self._store, self._clock.now()
        if now - float(store.fact("time", 0.0)) > REMEMBER_S:
            with store.transaction():
                store.state("time", now)
        wanted = store.database.rows("SELECT revision, digest, source FROM wanted WHERE id = 1")
        if wanted and wanted[0][0] > self._context.active().desired.revision:
            revision, digest, source = wanted[0]
            if now >= float(store.database.value("SELECT retry FROM failure WHERE digest = ?", digest) or 0.0):
                self._go(Machine(revision=revision, digest=digest, source=source), Next(State.RESOLVE))
                return
        self._look(now)

    def _reconcile(self) -> None:
        """The engine does not run what it should: gives it that, and falls back where it refuses for good."""
        self._reconcile_at = self._clock.now() + RECONCILE_S
        try:
            activate.reconcile(self._context)
        except Pause as pause:
            self._why = str(pause)
        except Failed as failed:
            self._refused += 1
            self._why = str(failed)
            if self._refused >= REFUSALS and self._context.active().id != FACTORY:
                self._fall_back(failed.code, str(failed))
        else:
            self._refused = 0
            generation = self._context.active()
            with self._store.transaction():
                self._store.state("reconcile", 0)
                post(self._store, {"kind": "running", "generation": generation.id, "revision": generation.desired.revision}, final=True)

    def _fall_back(self, code: str, reason: str = "expected every byte of it on the disk, got other ones") -> None:
        """The active generation cannot run: the one before it does, or the factory's."""
        generations = self._store.generations
        previous = generations.role("previous")
        number = previous.id if previous is not None and generations.is_sound(previous) else FACTORY
        failing = self._context.active()
        with self._store.transaction():
            generations.assign("active", number)
            generations.assign("previous", None)
            activate.runs(self._context, -1)
            body = {"kind": "fell-back", "revision": failing.desired.revision, "generation": number, "code": code, "reason": reason}
            post(self._store, body, final=True)
        self._refused = 0

    def _look(self, now: float) -> None:
        """Keeps what each output finds in a span of time, so that drift can be told later."""
        if now - self._seen_at < WINDOW_S:
            return
        try:
            health = self._context.runtime.health()
        except (ConnectionError, TimeoutError):
            return
        old = self._seen.outputs if self._seen is not None and self._seen.revision == health.revision else {}
        with self._store.transaction():
            for output, counts in health.outputs.items():
                found = {key: count - old.get(output, {}).get(key, 0) for key, count in counts.items()}
                self._keep(output, {key: count for key, count in found.items() if count > 0})
        self._seen, self._seen_at = health, now

    def _keep(self, output: str, counts: Mapping[str, int]) -> None:
        import json

        database = self._store.database
        place = int(database.value("SELECT coalesce(max(place), 0) + 1 FROM baseline WHERE output = ?", output))
        if counts:
            database.change("INSERT INTO baseline (output, place, counts) VALUES (?, ?, ?)", output, place, json.dumps(counts))
            database.change("DELETE FROM baseline WHERE output = ? AND place <= ?", output, place - WINDOWS)

    def _newer(self, machine: Machine) -> bool:
        if machine.state not in BEFORE_SWAP:
            return False
        row = self._store.database.rows("SELECT revision FROM wanted WHERE id = 1")
        return not row or int(row[0][0]) != machine.revision

    def _overdue(self, machine: Machine) -> bool:
        return machine.deadline is not None and self._clock.now() > machine.deadline

    def _own_time(self, machine: Machine) -> float:
        """How long the desired state wants this state to last."""
        if machine.state not in (State.SHADOW, State.PROBATION) or machine.generation is None:
            return 0.0
        desired = self._store.generations.get(machine.generation).desired
        if machine.state is State.PROBATION:
            return desired.probation_s
        return desired.shadow.seconds if desired.shadow is not None else 0.0

    def _carry_on(self, needed: Callable[[], None]) -> None:
        """What has to be done for anything to run; on a full disk with the database in memory. Raises OSError, sqlite3.Error."""
        try:
            needed()
        except (OSError, sqlite3.Error) as error:
            if not is_full(error) or self._store.database.detached:
                raise
            self._store.database.detach()
            self._write_at = self._clock.now() + RECONCILE_S
            needed()

    def _write_back(self) -> None:
        """What was carried on in memory is written down, as soon as there is room. Raises sqlite3.Error."""
        if self._store.database.detached and self._clock.now() >= self._write_at:
            self._write_at = self._clock.now() + RECONCILE_S
            self._store.database.attach()

    def _stumble(self, error: Exception) -> State:
        """The disk does not do what it should. The update fails if that can be written down, and waits if it cannot."""
        self._context.drop_stream()
        code = "space" if is_full(error) else "io"
        with suppress(OSError, sqlite3.Error, BundleError, LookupError):
            machine = load(self._store)
            if machine.state in BEFORE_SWAP or (machine.state in AFTER_SWAP and not isinstance(error, sqlite3.Error)):
                self._fail(machine, code, f"expected the disk to take it, got: {error}")
        self._pause(str(error))
        with suppress(sqlite3.Error):
            return load(self._store).state
        return State.IDLE

    def _pause(self, why: str) -> None:
        self._pauses += 1
        self._why = why
        self._paused_until = self._clock.now() + min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** min(self._pauses - 1, 10))

    def _resume(self) -> None:
        self._pauses, self._paused_until, self._why = 0, 0.0, ""

    def _forget(self) -> None:
        """Nothing of an update that was under way is in memory any more."""
        self._context.drop_stream()
        self._store.leases.clear()
        self._resume()
        self._reconcile_at = 0.0
        self._seen = None
