"""A cloud and devices as processes of their own, and people who use the cloud's API."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from manifests.bundle.bundle import opened
from manifests.bundle.pack import pack
from manifests.sync.agent.membership import Membership, write
from manifests.sync.desired import Desired
from manifests.trust.contents import signable
from manifests.trust.envelope import seal
from manifests.trust.repository import Repository

COMMAND = [sys.executable, "-c", "from flow.cli import main; main()"]
OPERATORS = Path(__file__).parents[1] / "operators"
PATIENCE_S = 90.0

BUSINESS = """\
apiVersion: ace/v1
kind: Business
name: level
version: {version}
inputs: {{camera: image}}
graph:
  level: {{op: test.level, in: {{image: camera}}, config: {{work_ms: {work_ms}}}}}
  after: {{op: {op}, in: {{points: level}}, config: {{{config}}}}}
outputs: {{levels: after}}
goals: {{rate: {rate}, latency_ms: 60000}}
"""
"""What it wants is little: a machine that has much else to do is no fault of a version."""
DEVICE = """\
apiVersion: ace/v1
kind: Device
name: porch
streams: {front: {source: "stamps:frames=1000000&fps=20"}}
businesses: [{use: level@^1, bind: {camera: front}}]
"""
"""A stream that waits, about 20 frames a second: what is lost of it was not dropped for want of time."""


def wait_for(condition: Callable[[], Any], what: Callable[[], object] | str, seconds: float = PATIENCE_S, pause_s: float = 0.2) -> Any:
    """The first true value of `condition`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(pause_s)
    raise AssertionError(f"it did not happen in {seconds:g} s: {what() if callable(what) else what}")


def environment(**more: str) -> dict[str, str]:
    """With the test operators and sources on the path, without anybody's tokens."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACE_TOKEN", "ACE_CLOUD", "ACE_ENROL"))}
    path = os.pathsep.join(filter(None, [str(OPERATORS), os.environ.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": path} | more


def bundle(
    folder: Path, version: str, *, op: str, config: str = "", work_ms: int = 45, rate: float = 0.5, device: bool = False,
    golden: bool = False, manifests: tuple[str, str] = (BUSINESS, DEVICE),
) -> Path:  # fmt: skip
    """A bundle of the business in this version, with a Device manifest and a golden clip if asked. `manifests` are what both begin as.

    To record the clip, this process needs the test operators too.
    """
    text = manifests[0].format(version=version, op=op, config=config, work_ms=work_ms, rate=rate)
    place = folder / f"level-{version}"
    place.mkdir()
    (place / "level.yaml").write_text(text + ("---\n" + manifests[1] if device else ""))
    path = folder / f"level-{version}.ace"
    made = pack(place)
    if golden:
        from flow.golden import record

        (lock,) = made.locks
        files = record(made, lock, {"camera": "stamps:frames=9"}, frames=8, every=1)
        made.golden(lock.pair, made.items[lock.pair.business], files)
    made.save(path)
    return path


@dataclass
class Cloud:
    """`ace cloud` in a folder of its own. `call` asks its API as the administrator."""

    folder: Path
    database: str = ""
    process: subprocess.Popen[str] = field(init=False)
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.repository = Repository.create(self.folder / "trust", datetime.now(UTC))

    def start(self) -> None:
        arguments = ["cloud", "--folder", str(self.folder / "cloud"), "--trust", str(self.folder / "trust")]
        arguments += ["--listen", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0"]
        with (self.folder / "cloud.txt").open("w") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=self.folder,
                env=environment(**({"ACE_DATABASE": self.database} if self.database else {})),
            )  # fmt: skip
        assert self.process.stdout is not None
        said = [self.process.stdout.readline() for _ in range(3)]
        self.address, self.token = said[1].split()[1], said[2].split()[-1]
        self.client = httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {self.token}"}, timeout=60.0)

    def stop(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()

    def call(self, method: str, path: str, body: Any = None, content: bytes | None = None) -> Any:
        answer = self.client.request(method, path, json=body, content=content)
        assert answer.is_success, answer.text
        return answer.json()

    def publish(self, path: Path) -> None:
        """Signs a bundle offline and gives it to the cloud."""
        with opened(path) as read:
            self.repository.add(signable(read, probation_s=1.0), datetime.now(UTC))
        self.call("PUT", "/v1/bundles", content=path.read_bytes())

    def join(self, name: str, cohort: str = "default") -> Path:
        """A file with which this device may ask to be let in."""
        told = self.call("POST", "/v1/invitations", {"name": name, "cohort": cohort})
        path = self.folder / f"{name}.join"
        write(
            path, Membership(endpoint=told["endpoint"], key=told["server_key"], http=self.address, root=told["root"], token=told["token"])
        )
        return path

    def approve(self, names: Sequence[str]) -> None:
        """Lets these in as they come, and waits until they have said how they are."""

        def waiting() -> bool:
            states = {row["name"]: row["state"] for row in self.call("GET", "/v1/devices")}
            for name in names:
                if states.get(name) == "pending":
                    self.call("POST", f"/v1/devices/{name}/approve")
            return all(states.get(name) == "approved" and self.query(name)["reported"] for name in names)

        wait_for(waiting, lambda: self.call("GET", "/v1/devices"))

    def query(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/v1/devices/{name}")
        return found

    def active(self, name: str) -> list[str]:
        """The versions that a device says it runs."""
        return [each["business"]["version"] for each in self.query(name)["reported"]["active"]]

    def history(self, name: str) -> list[dict[str, Any]]:
        """The oldest first."""
        found: list[dict[str, Any]] = self.call("GET", f"/v1/devices/{name}/history")
        return found[::-1]

    def reload(self, name: str, version: str, probation_s: float) -> int:
        """Has a device run this version; gives the revision."""
        body = {"device": name, "items": [f"business/level@{version}"], "probation_s": probation_s}
        return int(self.call("POST", "/v1/reload", body)["devices"][0]["revision"])

    def rolled_out(self, body: Mapping[str, Any], about: Callable[[], object] = lambda: "") -> dict[str, Any]:
        """A rollout, and how it ended; `about`: what is told when it does not end."""
        number = self.call("POST", "/v1/rollouts", dict(body))["id"]

        def show() -> dict[str, Any]:
            found: dict[str, Any] = self.call("GET", f"/v1/rollouts/{number}")
            return found

        wait_for(lambda: show()["state"] in ("done", "aborted", "paused"), lambda: (show(), about()))
        return show()

    def send_as_thief(self, device: str, change: Callable[[Desired], Desired]) -> None:
        """Somebody who holds the server, its database and its online key makes this the newest desired state of a device."""
        from manifests.cloud.database import Database, sqlite_url
        from manifests.cloud.desire import issue
        from manifests.cloud.edits import Edit
        from manifests.cloud.people import Person

        def signed(state: Desired) -> str:
            return seal(state, self.repository.director())

        database = Database(sqlite_url(self.folder / "cloud"))
        with database.write() as connection:
            issue(connection, signed, Person("thief", "admin"), "reload", [device], lambda present: Edit(change(present), (), {}))
        database.close()

    def wait_outcome(self, name: str, revision: int, *outcomes: str) -> dict[str, Any]:
        """The step with which a device has ended a revision."""

        def ended() -> dict[str, Any] | None:
            steps = [step for step in self.history(name) if step["revision"] == revision]
            return next((step for step in steps if step["outcome"] in outcomes), None)

        found: dict[str, Any] = wait_for(ended, lambda: self.history(name)[-6:])
        return found


@dataclass
class Device:
    """`ace agent` with a store, and its results."""

    folder: Path
    name: str
    factory: Path | None = None
    join: Path | None = None
    workers: str = "threads"
    more: tuple[str, ...] = ()
    path: str = ""
    """A folder of Python modules that the agent and its engine find first."""
    process: subprocess.Popen[bytes] | None = None
    asked: bool = False

    @property
    def store(self) -> Path:
        return self.folder / self.name

    @property
    def results(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def said(self) -> str:
        return (self.folder / f"{self.name}.txt").read_text()

    def arguments(self) -> list[str]:
        arguments = ["agent", "--store", str(self.store), "--out", f"levels={self.results}", "--workers", self.workers, *self.more]
        arguments += ["--factory", str(self.factory)] if self.factory else []
        return arguments + (["--join", str(self.join)] if self.join else [])

    def start(self) -> Device:
        with (self.folder / f"{self.name}.txt").open("a") as errors:
            self.process = subprocess.Popen([*COMMAND, *self.arguments()], stderr=errors, cwd=self.folder, env=self._environment())
        return self

    def _environment(self) -> dict[str, str]:
        found = environment()
        return found | {"PYTHONPATH": os.pathsep.join(filter(None, [self.path, found["PYTHONPATH"]]))}

    def ask_to_stop(self) -> None:
        assert self.process is not None
        self.asked = True
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """In order, with status 0."""
        if not self.asked:
            self.ask_to_stop()
        assert self.process is not None
        assert self.process.wait(60) == 0, self.said
        self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def engine(self) -> int:
        """The engine's process."""
        return int(wait_for(lambda: (self.store / "run" / "engine.lock").read_text(), f"{self.name} has an engine: {self.said}"))

    def kill_engine(self) -> None:
        """Engine and workers: what a crash of the device's memory management would do."""
        os.kill(self.engine(), signal.SIGKILL)

    def rows(self, results: Path | None = None) -> list[dict[str, Any]]:
        """Whole rows only: the last one may be under way."""
        path = results or self.results
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def newest(self) -> str:
        """The version of the last result; empty where there is none."""
        text = self.results.read_text()[-2000:] if self.results.exists() else ""
        return json.loads(text.split("\n")[-2])["version"] if text.count("\n") > 1 else ""

    def versions(self) -> list[str]:
        """Of the results, in the order in which they changed."""
        found: list[str] = []
        for row in self.rows():
            if not found or found[-1] != row["version"]:
                found.append(row["version"])
        return found

    def wait_version(self, version: str) -> None:
        wait_for(lambda: self.newest() == version, lambda: (self.versions(), self.said))

    def wait_said(self, text: str) -> None:
        wait_for(lambda: text in self.said, lambda: self.said)

    def wait_state(self, state: str) -> None:
        """The update machine has got that far (since the agent's last word of another update)."""
        self.wait_said(f"update: {state}\n")

    def clean_up(self) -> None:
        """Nothing of it lives on, whatever the test did."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
        lock = self.store / "run" / "engine.lock"
        if lock.exists() and (text := lock.read_text().strip()).isdigit():
            command = Path(f"/proc/{text}/cmdline")
            if command.exists() and str(self.store) in command.read_text():
                os.kill(int(text), signal.SIGKILL)


def assert_contiguous(rows: Sequence[Mapping[str, Any]], missing: Sequence[int] = ()) -> None:
    """Every frame once and in order, but for those that are known to be missing."""
    found = [row["seq"] for row in rows]
    assert found, "no results at all"
    wanted = [seq for seq in range(found[-1] + 1) if seq not in missing]
    assert found == wanted, f"missing {sorted(set(wanted) - set(found))[:10]}, {len(found) - len(set(found))} doubled"


def frames_read(said: str) -> int:
    """How many frames the engine's last words say that its source gave."""
    return int(re.findall(r"front: (\d+) frames? read", said)[-1])
