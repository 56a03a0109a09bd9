"""A cloud and devices in one process: real sockets, real database, real signatures; bundles and the device's update machine are stand-ins."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from manifests.cloud.bundles import Entry
from manifests.cloud.people import Person
from manifests.cloud.service import Cloud
from manifests.sync.agent.connection import Connection
from manifests.sync.agent.session import Times
from manifests.sync.channel.curve import KeyPair
from manifests.sync.channel.gateway import Limits
from manifests.sync.channel.messages import Offer
from manifests.sync.desired import Desired, DesiredBusiness, Item
from manifests.sync.reported import Outcome, Reported, Transition
from manifests.trust.errors import Untrusted
from manifests.trust.policy import Held
from manifests.trust.repository import Repository
from manifests.trust.store import TrustStore, folder_fetch
from manifests.trust.targets import Terms
from manifests.trust.tunable import Bound

QUICK = Times(heartbeat=0.2, first_retry=0.2, last_retry=1.0, unanswered=0.5, shadow=0.05)
ROOT = Person("root", "admin")


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """The first true value of `condition`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"it did not happen in {seconds:g} s: {what}")


def entry(kind: str, name: str, version: str, *, uses: dict[str, str] | None = None, tunable: dict[str, Bound] | None = None, blob: bytes = b"", ram: int = 0) -> Entry:
    """An item with a document and one blob of its own, or this one."""
    data = blob or f"{kind} {name} {version}".encode()
    blobs = {hashlib.sha256(data).hexdigest(): len(data)}
    document = json.dumps({"kind": kind, "name": name, "version": version, "blobs": blobs}).encode()
    item = Item.model_validate({"kind": kind, "name": name, "version": version, "digest": hashlib.sha256(document).hexdigest()})
    made = Entry(item, document, blobs, uses or {}, tunable or {}, ram)
    DATA.update({hashlib.sha256(data).hexdigest(): data})
    return made


DATA: dict[str, bytes] = {}


@dataclass
class Bundle:
    entries: Sequence[Entry]

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(DATA[digest])


DETECTOR = {version: entry("model", "detector", version, ram=1 << 20) for version in ("1.0.0", "1.1.0", "2.0.0")}
PET = {
    version: entry("business", "pet", version, uses={"detector": "detector@^1"}, tunable={"boxes.score": Bound(min=0.1, max=0.9)})
    for version in ("1.0.0", "1.1.0")
}
DOOR = {"1.0.0": entry("business", "door", "1.0.0", uses={"detector": "detector@>=1.0,<3"})}
ALL = [*DETECTOR.values(), *PET.values(), *DOOR.values()]
RUNNING = (
    DesiredBusiness(business=PET["1.0.0"].item, models={"detector": DETECTOR["1.0.0"].item}),
    DesiredBusiness(business=DOOR["1.0.0"].item, models={"detector": DETECTOR["1.0.0"].item}),
)


def terms(made: Entry) -> Terms:
    return Terms(uses=dict(made.uses), tunable=dict(made.tunable))


@contextmanager
def read_bundle(path: Path) -> Iterator[Bundle]:
    """A stand-in for the bundle format: the file names the items, one a line."""
    if not path.read_bytes().startswith(b"ACE\n"):
        raise ValueError("expected a bundle, got something else")
    wanted = path.read_text().split()[1:]
    yield Bundle([made for made in ALL if made.item.selector in wanted])


def make_cloud(folder: Path, *, limits: Limits | None = None, database: str = "", endpoint: str = "tcp://127.0.0.1:*") -> Cloud:
    """A cloud that has everything, signed."""
    if not (folder / "trust").exists():
        repository = Repository.create(folder / "trust", datetime.now(UTC))
        repository.add({made.item: (made.document, terms(made)) for made in ALL}, datetime.now(UTC))
    cloud = Cloud(folder / "cloud", folder / "trust", read_bundle, endpoint=endpoint, limits=limits, database=database)
    bundle = folder / "all.ace"
    bundle.write_text("ACE\n" + "\n".join(made.item.selector for made in ALL))
    cloud.upload(ROOT, bundle)
    return cloud


@dataclass
class Outbox:
    """In memory; survives whatever holds it being thrown away."""

    session: str = field(default_factory=lambda: secrets.token_hex(16))
    entries: list[tuple[int, Transition]] = field(default_factory=list)
    next: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, revision: int, outcome: Outcome, state: str, code: str = "", detail: str = "") -> None:
        with self.lock:
            step = Transition(revision=revision, outcome=outcome, state=state, at=datetime.now(UTC), code=code, detail=detail)
            self.entries.append((self.next, step))
            self.next += 1

    def first(self) -> int:
        with self.lock:
            return self.entries[0][0] if self.entries else self.next

    def after(self, number: int, limit: int) -> list[tuple[int, Transition]]:
        with self.lock:
            return [entry for entry in self.entries if entry[0] > number][:limit]

    def acknowledge(self, number: int) -> None:
        with self.lock:
            self.entries = [entry for entry in self.entries if entry[0] > number]


class Device:
    """Verifies what is wanted, and does it at once: or fails, where `bad` names one of its items."""

    def __init__(self, folder: Path, cloud: Cloud, name: str, *, bad: Sequence[str] = ()) -> None:
        self.name, self.cloud, self.bad = name, cloud, bad
        self.keys = KeyPair.at(folder / f"{name}.key")
        self.trust = TrustStore(folder / f"{name}-trust", cloud.repository.first_root())
        self.outbox = Outbox()
        self.held = 0
        self.epoch = 0
        self.active = RUNNING
        self.factory = frozenset(item.digest for each in RUNNING for item in (each.business, *each.models.values()))
        self.settled = 0
        self.stored: tuple[Item, ...] = ()
        self.applied: list[int] = []
        self.refusals: list[str] = []
        self.connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def revision(self) -> int:
        return self.held

    def reported(self) -> Reported:
        return Reported(revision=self.settled, reset_epoch=self.epoch, active=self.active, stored=self.stored, ram_bytes=1 << 30, disk_bytes=1 << 30)

    def offer(self, document: bytes) -> None:
        now = datetime.now(UTC)
        running = frozenset(item.digest for each in self.active for item in (each.business, *each.models.values()))
        try:
            self.trust.refresh(folder_fetch(self.cloud.repository.metadata), now)
            desired = self.trust.verify(document, Held(self.keys.name, self.held, self.epoch, running, self.factory), now)
        except Untrusted as error:
            self.refusals.append(error.code)
            return
        self.held = desired.revision
        self.apply(desired)

    def apply(self, desired: Desired) -> None:
        self.applied.append(desired.revision)
        names = [item.selector for each in desired.active for item in (each.business, *each.models.values())]
        if any(name in self.bad for name in names):
            self.outbox.add(desired.revision, "failed", "rolled_back", "probation.errors")
            return
        self.epoch, self.settled, self.stored = desired.reset_epoch, desired.revision, desired.staged
        self.active = RUNNING if desired.hold else desired.active
        self.outbox.add(desired.revision, "done", "committed")

    def start(self, token: str | None = None) -> None:
        self.connection = Connection(
            self.cloud.gateway.endpoint, self.cloud.keys.public, self.keys, self, self.outbox, read=self._read, token=token, times=QUICK
        )
        self._thread = threading.Thread(target=self.connection.run, name=self.name)
        self._thread.start()

    def _read(self, offer: Offer, token: str) -> bytes:
        raise OSError("there is no HTTP here")

    def stop(self) -> None:
        if self.connection is not None and self._thread is not None:
            self.connection.stop()
            self._thread.join()
            self.connection = None

    def enrol(self, cohort: str = "default") -> None:
        """Lets itself in and connects."""
        token = self.cloud.invite(ROOT, self.name, cohort, 600)
        self.start(token)
        wait_for(lambda: self.cloud.desk.standing(self.keys.name) == "pending", f"{self.name} is pending")
        self.cloud.set_state(ROOT, self.name, "approved")
        wait_for(lambda: self.cloud.query(self.name)["reported"], f"{self.name} has reported")
