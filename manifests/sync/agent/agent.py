"""The edge agent: parent of the engine, keeper of the store, and the device's voice to its cloud.

One thread, that of `run`, has the store and takes the update machine on, step by step. The engine's process, the channel to the cloud and
signals come to it over one queue. None of them is waited for: without a cloud the device goes on as it is, and without an engine for a
while the agent does.
"""

from __future__ import annotations

import queue
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from manifests.bundle.canonical import BundleError, digest
from manifests.store.effects import Effects
from manifests.store.store import Store
from manifests.sync.agent.describe import Describer
from manifests.sync.agent.http import HttpError
from manifests.sync.agent.inbox import Inbox
from manifests.sync.agent.link import Link
from manifests.sync.agent.membership import Membership
from manifests.sync.agent.metadata import KeptMetadata
from manifests.sync.agent.mirror import Mirror
from manifests.sync.agent.process import EngineProcess
from manifests.sync.agent.verify import NoRoot, held
from manifests.sync.channel.curve import KeyPair
from manifests.sync.clock import TrustedClock
from manifests.sync.engine import Engine
from manifests.sync.fetch import FileFetcher
from manifests.sync.gate import Gate
from manifests.sync.health import Limits
from manifests.sync.offline import Update
from manifests.sync.outbox import post
from manifests.sync.states import FINAL, State
from manifests.sync.trust import Untrusted, Verifier
from manifests.sync.update import Updater
from manifests.trust.store import TargetsVerifier, TrustStore

LOOK_S = 0.5
"""Between two looks at what nobody announces: files in the inbox, health on probation, a reset by hand."""
FIRST_AGAIN_S, LAST_AGAIN_S = 2.0, 60.0
"""Until a desired state whose metadata could not be fetched is tried again."""
PATIENCE_S = 10.0
"""How long an engine may take to answer before that is said."""
ROWS = 100
WAITING = frozenset({State.IDLE, State.SHADOW, State.GATE, State.PROBATION, *FINAL})
"""States in which a step changes nothing until time has passed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the agent of a device is given. `store` is a folder; `engine` the command that starts an engine.

    `root`: the first root metadata, where the membership has none: without either it takes no update. `device_file`: its own Device
    manifest; `about`: what it tells the cloud of its hardware; `free_memory` gives bytes.
    """

    store: Path
    engine: Sequence[str]
    member: Membership | None = None
    device_file: Path | None = None
    root: bytes = b""
    offline: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    free_memory: Callable[[], int] = lambda: 0
    limits: Limits = field(default_factory=Limits)


class Agent:
    """One device. `run` in the main thread; `stop` from anywhere, a signal handler included.

    Raises StoreError, KeyFileError, OSError, sqlite3.Error where the store cannot be used.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], effects: Effects | None = None) -> None:
        self._settings, self._say = settings, say
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._stopping = False
        self._offer: bytes | None = None
        self._offer_at, self._again = 0.0, FIRST_AGAIN_S
        self._state = State.IDLE
        self._told, self._held, self._full, self._wrong_at = "", "", "", time.monotonic()
        self._trouble: dict[str, str] = {}
        self.store = Store(settings.store, effects=effects)
        try:
            self._assemble()
        except BaseException:
            self.store.close()
            raise

    def _assemble(self) -> None:
        settings, store = self._settings, self.store
        self.keys = KeyPair.at(store.root / "keys" / "device.key", store.effects)
        self.process = EngineProcess(
            settings.engine, store.root / "run", ready=lambda: self._queue.put(("engine", None)), say=self._say, purpose=self._purpose(),
            effects=store.effects,
        )  # fmt: skip
        clock = TrustedClock(float(store.fact("time", 0.0)))
        self._mirror = Mirror(lambda document: self._queue.put(("offer", document)), lambda number: self._queue.put(("safe", number)))
        self._link = None
        if settings.member is not None:
            self._link = Link(store, self.keys, settings.member, self._mirror, session=self._session(), now=clock.now, say=self._say)
        self._files = FileFetcher(self._link)
        self._metadata: KeptMetadata | None = None
        verifier: Verifier = NoRoot()
        if root := settings.root or (settings.member.root.encode() if settings.member else b""):
            trust = TrustStore(store.root / "trust", root, store.effects)
            self._metadata = KeptMetadata(trust, store, clock.now, self._link.http.metadata if self._link else None)
            verifier = TargetsVerifier(trust, lambda: held(store, self.keys.name))
        engine = Engine(self.process.socket)
        self._clock = clock
        self.updater = Updater(
            store, engine, self._files, verifier, clock, device=self.keys.name, device_file=settings.device_file,
            gate=Gate(store, settings.device_file), limits=settings.limits,
        )  # fmt: skip
        self._describer = Describer(store, dict(settings.about), settings.free_memory, clock.now)
        self._inbox = Inbox(store.root / "inbox", store.effects, self._take_file, self._refuse_file, self._needs)

    def _purpose(self) -> str:
        """What an engine that lives must have been started for: this software, the device's own manifest as it is now, and this database,
        whose numbers of releases mean others to one that was given those of a database that is lost."""
        path = self._settings.device_file
        return f"{self._settings.about.get('ace', '')} {'' if path is None else digest(path.read_bytes())} {self._session()}"

    def _session(self) -> str:
        """The number of this outbox: drawn when the database was made."""
        name = self.store.fact("session")
        if name is None:
            name = secrets.token_hex(16)
            with self.store.transaction():
                self.store.state("session", name)
        return str(name)

    def stop(self) -> None:
        """Asks for an end in order: the engine's sources stop, frames in flight come out."""
        self._stopping = True
        self.process.end()
        self._queue.put(("stop", None))

    def run(self) -> None:
        """Until `stop`. Raises OSError, sqlite3.Error where the store breaks while it begins."""
        try:
            if self.store.lost is not None:
                self._say(f"the database could not be read, lies at {self.store.lost} now, and was begun anew from the factory state")
            self.updater.boot()
            if not self.updater.desired.active:
                self._say("this device has nothing to run yet: give it a --factory, a cloud (--join) or a signed file (--root)")
            self.process.start()
            if self._link is not None:
                self._link.start()
            if self._settings.offline is not None:
                self._offline(self._settings.offline)
            while not self._stopping:
                self._turn()
        finally:
            self.process.stop()
            if self._link is not None:
                self._link.stop()
            self._files.close()
            self.store.close()

    # ---- one turn

    def _turn(self) -> None:
        before = self._state
        self._state = self.updater.step()
        if self._state is not before:
            self._say(f"update: {self._state.value.lower()}{self.updater.reason and ': ' + self.updater.reason}")
        self._attempt(self._tell)
        self._share()
        busy = self._state not in WAITING and not self.updater.waiting_for
        self._hear(0.0 if busy or self._state is not before else LOOK_S)
        # A file that cannot be read must not keep the cloud waiting, nor the other way round.
        for look in (self._inbox.look, self._look_at_cloud):
            self._attempt(look)

    def _attempt(self, look: Callable[[], None]) -> None:
        """What the disk does not do now is tried again, and said once."""
        try:
            look()
        except (OSError, sqlite3.Error) as error:
            if str(error) != self._trouble.get(look.__name__):
                self._say(f"the store: {error}; it is tried again")
            self._trouble[look.__name__] = str(error)
            self._hear(LOOK_S)
        else:
            self._trouble.pop(look.__name__, None)

    def _look_at_cloud(self) -> None:
        """Raises OSError of the store, sqlite3.Error."""
        if self._link is not None:
            self._link.look()
            self._look_at_metadata()
        if self._offer is not None and time.monotonic() >= self._offer_at:
            self._take_offer(self._offer)

    def _hear(self, seconds: float) -> None:
        """Everything that has come; waits so long for the first."""
        until = time.monotonic() + seconds
        while True:
            try:
                what, value = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            until = 0.0
            match what:
                case "offer":
                    self._offer, self._offer_at, self._again = value, 0.0, FIRST_AGAIN_S
                case "safe":
                    self._try(partial(self.updater.acknowledge, value))
                case "engine":
                    self._try(self.updater.engine_is_new)

    def _try(self, action: Callable[[], None]) -> None:
        """What is said again, or done again, where the disk does not take it now."""
        try:
            action()
        except (OSError, sqlite3.Error) as error:
            self._say(f"the store: {error}")

    def _tell(self) -> None:
        """Says once what is waited for, and what is wrong; an engine that has just been started is not."""
        if (held := self.updater.held_back) != self._held:
            self._held = held
            if held:
                self._say(f"update: waits: {held}")
        if (full := self.updater.full) != self._full:
            self._full = full
            self._say(full or "the disk has room again: what was kept in memory is written")
        problem = self.updater.problem
        if not problem:
            self._told, self._wrong_at = "", time.monotonic()
        elif problem != self._told and time.monotonic() - self._wrong_at > PATIENCE_S:
            self._told = problem
            self._say(f"the engine does not run what it should: {problem}")

    def _share(self) -> None:
        """Shows the channel's thread what is new."""
        try:
            # What is in memory alone is not sent: after a cut its numbers would be given again, to others.
            rows = [] if self.updater.full else self.updater.reports(ROWS)
            reported = self._describer.reported(self._problems(), self._metadata.figures() if self._metadata else None)
            new = self._mirror.update(rows, self._held_revision(), reported)
        except (OSError, sqlite3.Error):
            return  # the step has said so
        if new and self._link is not None:
            self._link.connection.wake()

    def _held_revision(self) -> int:
        """The newest desired state that it holds. Of one before a database that was lost only the number is known: it has to come again."""
        floor = int(self.store.fact("floor", 0))
        return floor if self.store.fact("floor_digest") is not None else max(0, floor - 1)

    def _problems(self) -> list[str]:
        """What is wrong just now, or waited for."""
        held = self.updater.held_back
        found = (
            self.updater.full,
            self.updater.problem,
            held and f"an update waits: {held}",
            self._metadata.problem() if self._metadata else "",
        )
        return [each for each in found if each]

    # ---- desired states

    def _look_at_metadata(self) -> None:
        """Now and then, whether or not anything is offered. Raises OSError of the store, sqlite3.Error."""
        assert self._link is not None
        if self._metadata is None or not self._link.greeted or not self._metadata.due():
            return
        before = self._metadata.problem()
        try:
            self._metadata.refresh()
        except HttpError:
            return  # it is due again soon
        except Untrusted as error:
            if str(error) != before:
                self._refused(error.code, str(error))

    def _take_offer(self, document: bytes) -> None:
        """From the cloud. Metadata that cannot be fetched now are fetched later; a desired state without them would only be refused."""
        assert self._metadata is not None
        try:
            self._metadata.refresh()
        except OSError as error:
            self._say(f"cloud: the signed metadata cannot be fetched: {error}; it is tried again")
            self._offer_at, self._again = time.monotonic() + self._again, min(LAST_AGAIN_S, 2 * self._again)
            return
        except Untrusted as error:
            self._offer = None
            # What has expired stops new installs; a reset, or what runs already, is judged by what is known.
            if error.code != "expired" or not self._metadata.known:
                self._refused(error.code, str(error))
                return
        self._offer = None
        try:
            self.updater.submit(document)
        except Untrusted as error:
            self._say(f"refused: {error}")

    def _offline(self, path: Path) -> None:
        """A file that the agent was started with; what it brought once is refused later. Bad as it may be, the device goes on."""
        from manifests.sync.offline import update_of

        try:
            self._take_file(update_of(path), path)
        except Untrusted:
            return  # said and reported
        except (BundleError, OSError, sqlite3.Error) as error:
            self._try(partial(self._refuse_file, path.name, str(error)))

    def _take_file(self, update: Update, path: Path) -> None:
        """A signed file is judged by the metadata in it, or by newer ones where the device knows them. Raises Untrusted, after a report."""
        if self._metadata is not None:
            try:
                self._metadata.take(update.fetch)
            except Untrusted as error:
                if error.code not in ("expired", "rollback") or not self._metadata.known:
                    self._refused(error.code, f"{path.name}: {error}")
                    raise
        try:
            self.updater.submit(update.desired.encode(), source=str(path.absolute()))
        except Untrusted as error:
            self._say(f"{path.name}: refused: {error}")
            raise

    def _refuse_file(self, name: str, why: str) -> None:
        self._refused("bundle", f"{name}: {why}")

    def _refused(self, code: str, reason: str) -> None:
        self._say(f"refused: {reason}")
        with self.store.transaction():
            post(self.store, {"kind": "refused", "code": code, "reason": reason, "at": self._clock.now()})

    def _needs(self, path: Path) -> bool:
        """Whether the desired state that is wanted came with this file, and is not done."""
        wanted = self.store.database.rows("SELECT revision, source FROM wanted WHERE id = 1")
        return bool(wanted) and wanted[0][1] == str(path.absolute()) and not self.updater.is_done(int(wanted[0][0]))
