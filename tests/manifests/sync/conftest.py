"""A device without an engine, a network and a clock: fakes that can be told to fail."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from manifests.bundle.bundle import Bundle
from manifests.bundle.golden import Clip
from manifests.bundle.pack import Pack, pack
from manifests.store.effects import Effects
from manifests.store.store import Store, install_factory
from manifests.sync.agent.verify import held
from manifests.sync.clock import TrustedClock
from manifests.sync.desired import Desired, Shadow
from manifests.sync.fetch import FetchError, FileFetcher
from manifests.sync.health import Limits
from manifests.sync.runtime import Admission, Compared, Health, Release, RuntimeRefusal, Shadowed, Staging, Switched, Trial, Verification
from manifests.sync.states import State
from manifests.sync.update import Updater
from manifests.trust import keys
from manifests.trust.contents import signable
from manifests.trust.envelope import seal
from manifests.trust.repository import Repository, TargetRefusal
from manifests.trust.store import TargetsVerifier, TrustStore, folder_fetch

DEVICE = "cam-1"
ISSUED = datetime(2026, 11, 20, tzinfo=UTC)
OFFICE = "office"
"""The folder of the signed repository, beside the store."""
DAY_S = 86_400.0

MANIFESTS = """\
apiVersion: ace/v1
kind: Model
name: eye
version: {model}
file: eye.onnx
labels: [cat, dog]
---
apiVersion: ace/v1
kind: Business
name: pet
version: {business}
inputs: {{camera: image}}
models: {{detector: eye@^1}}
graph:
  boxes: {{op: detect.yolox, in: {{image: camera}}, model: detector, config: {{score: 0.3}}}}
outputs: {{pets: boxes}}
goals: {{rate: 10, latency_ms: 100}}
tunable: {{boxes.score: {{min: 0.1, max: 0.9}}}}
---
apiVersion: ace/v1
kind: Device
name: living-room
streams: {{front: {{source: "synthetic:home"}}}}
businesses: [{{use: pet@^1, bind: {{camera: front}}}}]
"""


class Killed(BaseException):
    """The process is gone."""


def packed(folder: Path, model: str = "1.0.0", business: str = "1.0.0", weights: bytes = b"weights", golden: bool = False) -> Pack:
    """A device with one business and one model."""
    place = folder / f"{model}-{business}-{len(weights)}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "eye.onnx").write_bytes(weights)
    (place / "all.yaml").write_text(MANIFESTS.format(model=model, business=business))
    made = pack(place)
    if golden:
        frames = {f"{number:02}.png": b"picture %d" % number for number in range(8)}
        rows = tuple({"seq": number, "detections": [{"label": "cat", "score": 0.9, "box": [1, 2, 3, 4]}]} for number in range(8))
        clip = Clip(frames={"camera": tuple(frames)}, results={"pets": rows})
        pair = made.locks[0].pair
        made.golden(pair, made.items[pair.business], {"clip.json": clip.encoded(), **frames})
    return made


@dataclass
class Time:
    """Seconds that pass when they are told to."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Engine:
    """A Runtime. `faults` maps a method to what it raises or answers instead, once for each entry; `calls` are those that came."""

    running: Release | None = None
    before: Release | None = None
    staged: Release | None = None
    tried: Trial | None = None
    last: int = -1
    faults: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    answers: dict[tuple[str, int], Any] = field(default_factory=dict)

    def _fault(self, name: str) -> Any:
        self.calls.append(name)
        if self.faults.get(name):
            fault = self.faults[name].pop(0)
            if isinstance(fault, BaseException):
                raise fault
            return fault
        return None

    def _once(self, name: str, revision: int) -> Any:
        return self.answers.get((name, revision))

    def admit(self, release: Release) -> Admission:
        return self._fault("admit") or Admission(release.revision, True, True, 1, 1)

    def stage(self, release: Release) -> Staging:
        fault = self._fault("stage")
        if release.revision < self.last:
            raise RuntimeRefusal(f"expected {self.last} or newer, got {release.revision}")
        for path in (*release.manifests, *(folder / "clip.json" for folder in release.golden.values())):
            assert path.read_bytes(), path
        if fault:
            return fault  # type: ignore[no-any-return]
        self.staged, self.last = release, release.revision
        return Staging(release.revision, release.digest, True)

    def verify(self, revision: int) -> Verification:
        return self._fault("verify") or Verification(revision, True, 8)

    def shadow(self, trial: Trial) -> Shadowed:
        fault = self._fault("shadow")
        if fault:
            return fault  # type: ignore[no-any-return]
        self.tried = None if self.running is None else trial
        return Shadowed(trial.release.revision, "done", {"pet.pets": Compared(120, 0.97, {"p50": 40.0}, {"p50": 44.0})}, 10, 0.1, 1 << 20)

    def switch(self, revision: int, *, keep_previous: bool = True) -> Switched:
        fault = self._fault("switch")
        if answer := self._once("switch", revision):
            return answer  # type: ignore[no-any-return]
        if self.staged is None or self.staged.revision != revision:
            raise RuntimeRefusal(f"expected {revision} to be staged")
        self.before, self.running, self.staged = self.running, self.staged, None
        answer = self.answers["switch", revision] = self._switched(revision)
        if fault == "dies after":
            raise ConnectionError("gone")
        return answer

    def abort(self, revision: int) -> Switched | None:
        self._fault("abort")
        if ("abort", revision) in self.answers:
            return self.answers["abort", revision]  # type: ignore[no-any-return]
        if self.staged is not None and self.staged.revision == revision:
            self.staged = None
            return None
        if self.running is None or self.running.revision != revision or self.before is None:
            raise RuntimeRefusal(f"expected {revision} to run, with a plan before it")
        self.running, self.before = self.before, None
        answer = self.answers["abort", revision] = self._switched(self.running.revision)
        return answer

    def settle(self, revision: int) -> None:
        self._fault("settle")
        self.before = None

    def health(self) -> Health:
        fault = self._fault("health")
        if isinstance(fault, Health):
            return fault
        values: dict[str, Any] = {
            "revision": self.running.revision if self.running else -1, "plan": self.running.digest if self.running else "",
            "state": "running", "uptime_s": 60.0, "results": {"pet.pets": 600}, "rates": {"pet.pets": 10.0},
            "latency_ms": {"pet.pets": {"p50": 40.0, "p99": 80.0}}, "errors": 0, "restarts": 0, "poison": 0,
            "outputs": {"pet.pets": {"cat": 300, "dog": 300}}, "rss_bytes": 1,
        }  # fmt: skip
        new = self.before is not None
        return Health(**values | (self.figures if new else {}))

    def _switched(self, revision: int) -> Switched:
        return Switched(revision, "new", "old", (), (), {}, (), (), {"front": 7}, {"front": 8}, 33_000_000, 0, 1)


@dataclass
class Cloud:
    """Blobs over a network that may break: `faults` are raised, or given instead of the bytes, one for each call."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def add(self, bundle: Bundle) -> None:
        for entry in bundle.document.entries:
            self.blobs[entry.sha256] = b"".join(bundle.chunks(entry.sha256))

    def fetch(self, sha256: str, offset: int, source: str) -> Iterator[bytes]:
        self.asked.append((sha256, offset))
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, BaseException):
                raise fault
            yield from fault
            return
        if sha256 not in self.blobs:
            raise FetchError(f"no {sha256}")
        data = self.blobs[sha256][offset:]
        for at in range(0, len(data), 4096):
            yield data[at : at + 4096]


@dataclass
class Stick(Cloud):
    """The same from a signed file."""

    files: FileFetcher = field(default_factory=FileFetcher)

    def add(self, bundle: Bundle) -> None:
        pass

    def fetch(self, sha256: str, offset: int, source: str) -> Iterator[bytes]:
        self.asked.append((sha256, offset))
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, BaseException):
                raise fault
            yield from fault
            return
        yield from self.files.fetch(sha256, offset, source)


@dataclass
class Rig:
    """One device, its engine, and whoever sends it desired states. `restart` is a new agent; with `power`, also a new engine."""

    root: Path
    time: Time
    engine: Engine
    fetcher: Any
    effects: Effects = field(default_factory=Effects)
    gate: Callable[[], str] = lambda: ""
    limits: Limits = field(default_factory=Limits)
    updater: Updater = field(init=False)
    store: Store = field(init=False)
    seen: int = 0
    source: str = ""
    device_file: Path | None = None
    office: Path | None = None
    refreshed: float = -1e9

    def __post_init__(self) -> None:
        self.repository = Repository(self.office or self.root.parent / OFFICE)

    def start(self) -> Rig:
        store = self.store = Store(self.root, effects=self.effects)
        self.clock = clock = TrustedClock(monotonic=self.time)
        self.trust = TrustStore(self.root / "trust", self.repository.first_root(), self.effects)
        verifier = TargetsVerifier(self.trust, lambda: held(store, DEVICE))
        self.updater = Updater(
            self.store, self.engine, self.fetcher, verifier, clock, device=DEVICE, device_file=self.device_file, gate=lambda _: self.gate(),
            limits=self.limits,
        )  # fmt: skip
        self.updater.boot()
        return self

    def stop(self) -> None:
        self.store.close()

    def restart(self, *, power: bool = False) -> Rig:
        self.stop()
        if power:
            self.lose_engine()
        return self.start()

    def lose_engine(self) -> None:
        """Its process dies, and another one takes its place."""
        self.engine.running = self.engine.staged = self.engine.before = None
        self.engine.last = -1
        self.engine.answers.clear()

    def refresh(self) -> None:
        """The device's copy of the signed metadata is that of now."""
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        self.repository.freshen(now)
        self.trust.refresh(folder_fetch(self.repository.metadata), now)
        self.refreshed = self.time.at

    def sealed(self, desired: Desired) -> bytes:
        """Signed by the cloud's online key, or by the offline key for update files."""
        signer = keys.load(self.repository.folder / "offline" / "updates.pem") if self.source else self.repository.director()
        return seal(desired, signer).encode()

    def submit(self, desired: Desired) -> bool:
        self.refresh()
        return self.updater.submit(self.sealed(desired), source=self.source)

    def run(self, *until: State, steps: int = 400, tick: float = 5.0) -> State:
        """Steps until one of these states, time passing."""
        state = self.updater.state
        for _ in range(steps):
            state = self.updater.step()
            if state in until:
                return state
            self.time.at += tick
            if self.time.at - self.refreshed > DAY_S:
                self.refresh()
        raise AssertionError(f"expected {until}, still in {state}: {self.chain()} {self.updater.waiting_for}")

    def bodies(self) -> list[dict[str, Any]]:
        return [dict(report.body) for report in self.updater.reports(1000)]

    def chain(self) -> list[str]:
        """The states that were reported since the last question."""
        rows = [report for report in self.updater.reports(1000) if report.seq > self.seen]
        if rows:
            self.seen = rows[-1].seq
        return [row.body["state"] for row in rows if row.body["kind"] == "update"]

    def last(self) -> dict[str, Any]:
        """The last report of an update."""
        return [body for body in self.bodies() if body["kind"] == "update"][-1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: a sync costs nothing there."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="ace-test-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def bundles(place: Path) -> Iterator[Callable[..., Bundle]]:
    """Packs a business, signs all of it and opens the bundle."""
    opened = []
    repository = Repository.create(place / OFFICE, ISSUED)

    def make(name: str = "one", **values: Any) -> Bundle:
        path = place / f"{name}.ace"
        packed(place / "manifests", **values).save(path)
        opened.append(Bundle(path))
        with suppress(TargetRefusal):  # another content of the same version is for tests that send nothing
            repository.add(signable(opened[-1], (DEVICE,)), ISSUED)
        return opened[-1]

    yield make
    for bundle in opened:
        bundle.close()


@pytest.fixture
def rig(place: Path, bundles: Callable[..., Bundle], request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A device that runs its factory state and knows a cloud; with the parameter `offline`, it is given signed files."""
    offline = getattr(request, "param", "online") == "offline"
    with bundles("factory") as factory:
        install_factory(place / "store", factory.path)
    made = Rig(place / "store", Time(), Engine(), Stick() if offline else Cloud())
    made.source = str(place / "two.ace") if offline else ""
    made.start()
    made.run(State.IDLE)
    made.updater.acknowledge(made.updater.reports()[-1].seq)
    yield made
    made.stop()
    if isinstance(made.fetcher, Stick):
        made.fetcher.files.close()


def wanted(bundle: Bundle, revision: int, **changes: Any) -> Desired:
    """What the bundle makes of a device."""
    return bundle.desired(DEVICE, revision=revision, issued=ISSUED.isoformat()).model_copy(update=changes)


def reach(rig: Rig, bundle: Bundle, state: State, revision: int = 1) -> None:
    """Takes an update to this bundle into this state, in which nothing has been done yet.

    For what goes wrong on the way, the engine is told to; IDLE: it has come, and has not begun.
    """
    if state in (State.ROLLING_BACK, State.ROLLED_BACK):
        rig.engine.figures = {"poison": 1}
    elif state is State.FAILED:
        rig.engine.faults["admit"] = [RuntimeRefusal("no")]
    rig.submit(wanted(bundle, revision, shadow=Shadow() if state is State.SHADOW else None))
    if state is State.SUPERSEDED:
        rig.run(State.FETCH, tick=0.1)
        rig.submit(wanted(bundle, revision + 1))
    if state is not State.IDLE:
        rig.run(state, tick=5.0 if state in (State.COMMITTED, State.ROLLED_BACK) else 0.1)
    rig.engine.figures = {}
