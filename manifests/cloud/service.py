"""The cloud as a whole: each thing that a person can ask of it is one method and one transaction."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from manifests.bundle.bundle import opened
from manifests.bundle.canonical import BundleError
from manifests.cloud import audit, desire, edits, enrolment, inventory, library, people, resets, rollout
from manifests.cloud.blobs import Blobs
from manifests.cloud.bundles import blobs_of
from manifests.cloud.database import Database, sqlite_url
from manifests.cloud.desk import Desk
from manifests.cloud.errors import Refusal, Unknown, Wrong
from manifests.cloud.impact import impact
from manifests.cloud.library import Library
from manifests.cloud.people import Person
from manifests.cloud.tables import contents, desired, tokens
from manifests.sync.channel.curve import KeyPair
from manifests.sync.channel.gateway import Gateway, Limits
from manifests.sync.desired import Desired, Item, Shadow
from manifests.sync.trust import Untrusted
from manifests.trust.envelope import seal
from manifests.trust.keys import KeyRefusal
from manifests.trust.policy import items_of
from manifests.trust.repository import Repository

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asks devices to do. One of `device` and `cohort`."""

    items: tuple[str, ...] = ()
    device: str = ""
    cohort: str = ""
    all: bool = False
    """A business that refuses a model refuses the whole reload."""
    settings: dict[str, Any] | None = None
    reason: str = ""
    probation_s: float | None = None
    """How long what is reloaded must prove itself; None: as long as before."""
    shadow: Shadow | None = None
    """What it must show beside what runs, before anything is switched."""


class Cloud:
    """Lives in a folder: cloud.db (or the URL `database`), blobs, its keys. `trust`: the repository, but for its offline keys."""

    def __init__(self, folder: Path, trust: Path, *, endpoint: str, database: str = "", limits: Limits | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.database = Database(database or sqlite_url(folder))
        self.database.upgrade()
        self.repository = Repository(trust)
        self._director = self.repository.director()
        self.blobs = Blobs(folder / "blobs")
        self.keys = KeyPair.at(folder / "channel.key")
        self.desk = Desk(self.database, _secret(folder / "http.key"), rollout.heard)
        self.gateway = Gateway(self.desk, endpoint, self.keys, limits)
        self._signing = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self.gateway.run, name="gateway"), threading.Thread(target=self._turn, name="rollouts")]

    def start(self) -> None:
        """Begins to serve devices."""
        self._freshen()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends what `start` began. What was acknowledged is stored."""
        if self._stop.is_set():
            return
        self._stop.set()
        self.gateway.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._threads[0].ident is None:
            self.gateway.close()
        self.database.close()

    def first_person(self) -> str | None:
        """A token for the first administrator, where there is nobody yet."""
        with self.database.write() as connection:
            if connection.execute(select(tokens.c.hash).limit(1)).first():
                return None
            return people.create(connection, "cloud", "admin", "admin")

    def who(self, secret: str) -> Person:
        """Raises Unauthorised."""
        with self.database.read() as connection:
            return people.authenticate(connection, secret)

    def sign(self, state: Desired) -> str:
        return seal(state, self._director)

    # People, devices

    def create_person(self, by: Person, name: str, role: str) -> str:
        by.must_be("admin")
        with self.database.write() as connection:
            return people.create(connection, by.name, name, role)

    def revoke_person(self, by: Person, name: str) -> None:
        by.must_be("admin")
        with self.database.write() as connection:
            people.revoke(connection, by.name, name)

    def invite(self, by: Person, name: str, cohort: str, lasts_s: float) -> str:
        by.must_be("operator")
        with self.database.write() as connection:
            token = enrolment.invite(connection, by.name, name, cohort, lasts_s)
        self.desk.refresh([])
        return token

    def set_state(self, by: Person, device: str, state: str) -> None:
        by.must_be("approver")
        with self.database.write() as connection:
            key = inventory.set_state(connection, by.name, device, state)
        self.desk.refresh([key])
        self.gateway.notify([key])

    # The four verbs

    def query(self, device: str) -> dict[str, Any]:
        with self.database.read() as connection:
            return inventory.query(connection, device)

    def download(self, by: Person, ask: Ask) -> dict[str, Any]:
        return self._edit(by, "download", ask)

    def reload(self, by: Person, ask: Ask) -> dict[str, Any]:
        return self._edit(by, "reload", ask)

    def remove(self, by: Person, ask: Ask) -> dict[str, Any]:
        return self._edit(by, "remove", ask)

    def assign(self, by: Person, ask: Ask) -> dict[str, Any]:
        by.must_be("approver")
        return self._edit(by, "assign", ask)

    def impact(self, verb: str, ask: Ask) -> dict[str, Any]:
        """What a download or reload would do. Nothing changes."""
        with self.database.read() as connection:
            ids = self._devices(connection, ask)
            there = Library(connection, self.repository.signed)
            return impact(connection, there, ids, self._change(connection, there, verb, ask, ids))

    def reset(self, by: Person, ids: Sequence[str], cohort: str, reason: str) -> dict[str, Any]:
        by.must_be("operator")
        with self.database.write() as connection:
            keys = inventory.cohort(connection, cohort) if cohort else [inventory.approved(connection, each) for each in ids]
            done = resets.reset(connection, self.sign, by, list(dict.fromkeys(keys)), reason)
        return {"waits": asdict(done)} if isinstance(done, resets.Asked) else self._issued(done)

    def agree(self, by: Person, number: int) -> dict[str, Any]:
        by.must_be("approver")
        with self.database.write() as connection:
            done = resets.agree(connection, self.sign, by, number)
        return self._issued(done)

    def _edit(self, by: Person, verb: str, ask: Ask) -> dict[str, Any]:
        by.must_be("operator")
        if ask.shadow is not None and verb != "reload":
            raise Wrong(f"{verb}: expected no `shadow`, got one; what is reloaded can be tried out, nothing else")
        with self.database.write() as connection:
            ids = self._devices(connection, ask)
            there = Library(connection, self.repository.signed)
            change = self._change(connection, there, verb, ask, ids)
            target = f"{ask.device or ask.cohort}: {', '.join(ask.items)}"
            done = desire.issue(connection, self.sign, by, verb, ids, change, reason=ask.reason, target=target)
        return self._issued(done)

    def _issued(self, done: Sequence[desire.Issued]) -> dict[str, Any]:
        self.gateway.notify([each.device for each in done])
        return {
            "devices": [{"device": each.device, "revision": each.revision} for each in done],
            "businesses": sorted({name for each in done for name in each.touched}),
            "kept": {name: why for each in done for name, why in each.kept.items()},
        }

    @staticmethod
    def _devices(connection: Connection, ask: Ask) -> list[str]:
        if bool(ask.device) == bool(ask.cohort):
            raise Wrong("expected a device or a cohort, one of the two")
        return [inventory.approved(connection, ask.device)] if ask.device else inventory.cohort(connection, ask.cohort)

    def _change(self, connection: Connection, there: Library, verb: str, ask: Ask, ids: Sequence[str]) -> desire.Change:
        """Raises Wrong, Unknown, Refusal for what is wrong whichever device it is."""
        if not ask.items or (verb != "download" and len(ask.items) != 1):
            raise Wrong(f"{verb}: expected one model/NAME[@VERSION] or business/NAME[@VERSION], got {len(ask.items)}")
        states = inventory.reported(connection, ids)

        def on(present: Desired) -> Desired:
            return edits.base(present, states.get(present.device))

        if verb == "remove":
            return lambda present: edits.remove(on(present), ask.items[0])
        found = [there.find(each) for each in ask.items]
        if any((item.kind == "device") != (verb == "assign") for item in found):
            raise Wrong(
                "device documents are assigned to the device that they are signed for; models and businesses are downloaded and reloaded"
            )
        if verb == "assign":
            return lambda present: edits.assign(on(present), found[0])
        if verb == "download":
            return lambda present: edits.download(on(present), found)
        return lambda present: edits.reload(
            edits.proving(on(present), ask.probation_s, ask.shadow), found[0], there, all_or_nothing=ask.all, settings=ask.settings
        )

    # Models and businesses

    def upload(self, by: Person, path: Path) -> list[Item]:
        """Takes in a bundle. Raises Wrong, Refusal."""
        by.must_be("operator")
        try:
            with opened(path) as bundle:
                documents = list(bundle.items.values())
                for digest, size in {digest: size for each in documents for digest, size in blobs_of(each).items()}.items():
                    self.blobs.add(digest, size, bundle.chunks(digest))
                with self.database.write() as connection:
                    library.note_costs(connection, bundle.document.locks)
                    return library.add(connection, by.name, documents)
        except BundleError as error:
            raise Wrong(f"this bundle cannot be used: {str(error).replace(str(path), path.name)}") from None

    def publish(self, by: Person, targets: bytes) -> int:
        """Takes targets that were signed offline. Raises Refusal."""
        by.must_be("approver")
        try:
            with self._signing:
                version = self.repository.accept_targets(targets, datetime.now(UTC))
        except Untrusted as error:
            raise Refusal(str(error), code=error.code) from None
        with self.database.write() as connection:
            audit.record(connection, by.name, "trust.publish", f"targets {version}")
        return version

    def publish_roots(self, by: Person, roots: Sequence[bytes]) -> int:
        """Takes roots that were signed offline, each by the keys of the one before it. Raises Refusal."""
        by.must_be("approver")
        try:
            with self._signing:
                version = self.repository.accept_roots(roots, datetime.now(UTC))
        except Untrusted as error:
            raise Refusal(str(error), code=error.code) from None
        except KeyRefusal as error:
            raise Refusal(str(error)) from None
        with self.database.write() as connection:
            audit.record(connection, by.name, "trust.root", f"root {version}")
        return version

    # For devices

    def signed_desired(self, device: str, revision: int) -> str:
        """Raises Unknown."""
        with self.database.read() as connection:
            found = connection.execute(select(desired.c.signed).where(desired.c.device == device, desired.c.revision == revision)).scalar()
        if found is None:
            raise Unknown(f"there is no revision {revision} for this device")
        return str(found)

    def blob_for(self, device: str, digest: str) -> Path:
        """A blob that this device is to have. Raises Unknown."""
        with self.database.read() as connection:
            owners = set(connection.execute(select(contents.c.item).where(contents.c.blob == digest)).scalars())
            if not owners & self._entitled(connection, device):
                raise Unknown(f"there is no blob {digest[:12]} for this device")
        return self.blobs.path(digest)

    @staticmethod
    def _entitled(connection: Connection, device: str) -> set[str]:
        state = inventory.wanted(connection, [device])[device]
        active = {item.digest for each in state.active for item in items_of(each)}
        return active | {item.digest for item in state.staged} | ({state.document.digest} if state.document else set())

    # Rollouts

    def begin(self, by: Person, spec: rollout.Spec) -> int:
        by.must_be("operator")
        if spec.shadow is not None and spec.verb != "reload":
            raise Wrong(f"{spec.verb}: expected no `shadow`, got one; what is reloaded can be tried out, nothing else")
        with self.database.write() as connection:
            Library(connection, self.repository.signed).find(spec.item)
            return rollout.create(connection, by, spec)

    def turn(self, by: Person, number: int, action: str) -> dict[str, Any]:
        by.must_be("operator")
        if action not in {"pause", "resume", "abort"}:
            raise Unknown(f"expected pause, resume or abort, got {action!r}")
        with self.database.write() as connection:
            rollout.turn(connection, by, number, action)  # type: ignore[arg-type]
            return rollout.show(connection, number)

    def _turn(self) -> None:
        """Takes rollouts on, and keeps the online metadata fresh, until `stop`."""
        tools = rollout.Tools(self.sign, self._planned, self._base)
        steps: list[Callable[[], Any]] = [lambda: self._advance(tools), self._freshen]
        while not self._stop.wait(0.5):
            for step in steps:
                try:
                    step()
                except Exception:
                    log.exception("what the cloud does by itself failed; it is tried again")

    def _freshen(self) -> None:
        with self._signing:
            self.repository.freshen(datetime.now(UTC))

    def _advance(self, tools: rollout.Tools) -> None:
        while not self._stop.is_set():
            with self.database.write() as connection:
                changed = rollout.advance(connection, tools)
            if not changed:
                return
            self.gateway.notify(changed)

    def _planned(self, connection: Connection, spec: rollout.Spec, ids: Sequence[str]) -> desire.Change:
        there = Library(connection, self.repository.signed)
        return self._change(connection, there, spec.verb, _asked(spec), ids)

    @staticmethod
    def _base(connection: Connection, ids: Sequence[str]) -> desire.Change:
        states = inventory.reported(connection, ids)
        return lambda present: edits.Edit(edits.base(present, states.get(present.device)), (), {})


def _asked(spec: rollout.Spec) -> Ask:
    """What a rollout asks of each of its devices."""
    return Ask(items=(spec.item,), all=spec.all, probation_s=spec.probation_s, shadow=spec.shadow)


def _secret(path: Path) -> bytes:
    """Random bytes kept in a 0600 file."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return bytes.fromhex(path.read_text())
