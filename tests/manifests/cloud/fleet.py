"""A cloud and devices in one process: real sockets, real database, real signatures and bundles; the update machine is a stand-in."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from manifests.bundle.bundle import opened
from manifests.bundle.pack import Pack, pack
from manifests.cloud.limits import HttpLimits
from manifests.cloud.people import Person
from manifests.cloud.server import Http, bind, configuration
from manifests.cloud.service import Cloud
from manifests.sync.agent.connection import Connection
from manifests.sync.agent.session import Times
from manifests.sync.channel.curve import KeyPair
from manifests.sync.channel.gateway import Limits
from manifests.sync.channel.messages import Offer
from manifests.sync.desired import Desired, DesiredBusiness, Item
from manifests.sync.reported import Outcome, Reported, Transition
from manifests.sync.trust import Untrusted
from manifests.trust.contents import signable
from manifests.trust.policy import Held
from manifests.trust.repository import Repository
from manifests.trust.store import TrustStore, folder_fetch

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


MODEL = """\
apiVersion: ace/v1
kind: Model
name: detector
version: {version}
file: detector.onnx
"""
BUSINESS = """\
apiVersion: ace/v1
kind: Business
name: {name}
version: {version}
inputs: {{camera: image}}
models: {{detector: "detector@{range}"}}
graph:
  boxes: {{op: detect.yolox, in: {{image: camera}}, model: detector, config: {{score: 0.3}}}}
outputs: {{boxes: boxes}}
tunable: {{boxes.score: {{min: 0.1, max: 0.9}}}}
"""


COSTS = {"1.0.0": 200, "2.0.0": 300}
"""MiB that a business takes with each model, and 50 that its processes share."""


def pack_all(folder: Path) -> Path:
    """A bundle with three models and two businesses, one of which comes in two versions; door takes every model, pet those of major 1.

    It says what each takes of memory, but for model 1.1.0.
    """
    made = Pack()
    for name, business, taken in (("pet", "1.0.0", "^1"), ("pet", "1.1.0", "^1"), ("door", "1.0.0", ">=1.0,<3")):
        for model in ("1.0.0", "1.1.0", "2.0.0"):
            if name == "pet" and model == "2.0.0":
                continue
            place = folder / f"{name}-{business}-{model}"
            place.mkdir()
            (place / "detector.onnx").write_bytes(b"weights " + model.encode())
            texts = (MODEL.format(version=model), BUSINESS.format(name=name, version=business, range=taken))
            (place / "all.yaml").write_text("---\n".join(texts))
            each = pack(place, costs={f"model/detector@{model}": {"ram-bytes": 1 << 20}})
            if model != "1.1.0":
                each.costs(each.locks[0].pair, {"ram-bytes": COSTS[model] << 20, "shared-memory-bytes": 50 << 20})
            made.items |= each.items
            made.contents |= each.contents
            made.sizes |= each.sizes
            made.locks += [lock for lock in each.locks if lock not in made.locks]
    made.save(folder / "all.ace")
    return folder / "all.ace"


with tempfile.TemporaryDirectory() as _folder, opened(pack_all(Path(_folder))) as _bundle:
    ALL = signable(_bundle)
    ALL_BYTES = _bundle.path.read_bytes()


def items(kind: str, name: str) -> dict[str, Item]:
    """By version."""
    return {item.version: item for item in ALL if (item.kind, item.name) == (kind, name)}


DETECTOR, PET, DOOR = items("model", "detector"), items("business", "pet"), items("business", "door")
RUNNING = (
    DesiredBusiness(business=PET["1.0.0"], models={"detector": DETECTOR["1.0.0"]}),
    DesiredBusiness(business=DOOR["1.0.0"], models={"detector": DETECTOR["1.0.0"]}),
)


def make_cloud(folder: Path, *, limits: Limits | None = None, database: str = "", endpoint: str = "tcp://127.0.0.1:*") -> Cloud:
    """A cloud that has everything, signed."""
    if not (folder / "trust").exists():
        repository = Repository.create(folder / "trust", datetime.now(UTC))
        repository.add(ALL, datetime.now(UTC))
    cloud = Cloud(folder / "cloud", folder / "trust", endpoint=endpoint, limits=limits, database=database)
    bundle = folder / "all.ace"
    bundle.write_bytes(ALL_BYTES)
    cloud.upload(ROOT, bundle)
    return cloud


@contextmanager
def served(cloud: Cloud, limits: HttpLimits | None = None) -> Iterator[tuple[str, int]]:
    """The cloud's HTTP side at a real address."""
    http = Http(port=0, limits=limits or HttpLimits())
    listener = bind(http)
    server = uvicorn.Server(configuration(cloud, http))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: server.started, "the server listens")
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()


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
        return Reported(
            revision=self.settled, reset_epoch=self.epoch, active=self.active, stored=self.stored, ram_bytes=1 << 30, disk_bytes=1 << 30
        )

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


def populate(cloud: Cloud, count: int, cohort: str = "home", *, online: int | None = None) -> list[str]:
    """Devices that are let in and have reported, without sockets; the first `online` of them were heard of just now."""
    import time

    from sqlalchemy import insert

    from manifests.cloud import inventory
    from manifests.cloud.tables import devices

    ids = [secrets.token_hex(32) for _ in range(count)]
    state = Reported(active=RUNNING, ram_bytes=1 << 30, disk_bytes=1 << 30)
    with cloud.database.write() as connection:
        rows = [
            {"id": each, "name": f"{cohort}-{number}", "cohort": cohort, "state": "approved", "about": "{}"}
            for number, each in enumerate(ids)
        ]
        connection.execute(insert(devices), [{**row, "enrolled": 0.0, "revision": 0} for row in rows])
        for each in ids:
            inventory.note_shadows(connection, {each: state}, 0.0)
        inventory.note_seen(connection, dict.fromkeys(ids[:online], time.time()))
    cloud.desk.refresh()
    return ids
