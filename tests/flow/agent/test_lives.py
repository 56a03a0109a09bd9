"""Agents that are killed, or whose disk errs, in every state of an update: real processes, a real store, a real cloud, and what it learns.

In each case a state was just written down, or its work is done and that is not written down yet; alone, or with the engine; with the cloud
or from signed files. Errors of other kinds are shown on the simulated device in tests/manifests/sync/test_kills.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import insert

from manifests.bundle.bundle import opened
from manifests.bundle.pack import Pack
from manifests.cloud import inventory
from manifests.cloud.people import Person
from manifests.cloud.server import Http, bind, configuration
from manifests.cloud.service import Ask, Cloud
from manifests.cloud.tables import devices
from manifests.store.store import Store, install_factory
from manifests.sync.agent.membership import Membership, write
from manifests.sync.agent.rows import ENDS
from manifests.sync.channel.curve import KeyPair
from manifests.sync.desired import ANY_DEVICE, Desired, Shadow
from manifests.sync.reported import Reported
from manifests.sync.states import BEFORE_SWAP, State
from manifests.trust.contents import signable
from manifests.trust.repository import Repository
from tests.manifests.store.test_power import check
from tests.manifests.sync.conftest import packed
from tests.manifests.sync.test_kills import KILLS, TRIED, WHOLE

from .lives import ERRED, STORE, Plan

HOUSE = Path(__file__).parents[3]
ROOT = Person("root", "admin")
AT_ONCE = 6


@dataclass(frozen=True)
class Case:
    """See Plan; `in CALL` as a fault: its first agent is killed in the middle of that call to the engine."""

    state: State
    fault: str
    power: bool = False
    offline: bool = False

    def __str__(self) -> str:
        words = [self.state.value, self.fault.replace(" ", "-"), "power" if self.power else "", "offline" if self.offline else ""]
        return "-".join(filter(None, words)).lower()

    @property
    def chain(self) -> list[str]:
        """The states of which the cloud learns, in order."""
        kill = KILLS[self.state]
        before, after = kill.before, kill.after
        if self.state is State.SUPERSEDED:
            before = [*WHOLE[: WHOLE.index(HELD) + 1], "SUPERSEDED"]
        if self.fault == "error" and self.state in BEFORE_SWAP:
            return [*before, "FAILED", *(TRIED if self.state is State.SHADOW else WHOLE)]
        if self.power and kill.power is not None:
            after = kill.power
        return before + after

    @property
    def first(self) -> int:
        """What is wanted of it first: which of the models, and for a signed file the revision."""
        return VERIFIED if self.fault == "in verify" else 1

    @property
    def outcomes(self) -> list[str]:
        return [ENDS[state] for state in self.chain if state in ENDS]

    @property
    def statuses(self) -> list[int]:
        """Of its agents."""
        return [-signal.SIGKILL] * (self.fault != "error") + [0] * (1 + self.offline)


VERIFIED = 3
HELD = "STAGED"
"""Where an update waits as long as the device is locked."""
CASES = [
    *(Case(state, "written") for state in State),
    *(Case(state, "done", power=True, offline=True) for state in State),
    *(Case(state, "error") for state in State),
    *(Case(State.PRELOAD, f"in {call}") for call in ("admit", "stage", "verify")),
    Case(State.SWAP, "in switch"),
    Case(State.PROBATION, "in settle"),
    Case(State.ROLLING_BACK, "in abort"),
]


@dataclass
class Life:
    """What became of a device."""

    statuses: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False


class Table:
    """A cloud with its devices, whose lives are those of `cases`."""

    def __init__(self, place: Path, cases: list[Case]) -> None:
        self.place, self.cases = place, {str(case): case for case in cases}
        self.lives = {name: Life() for name in self.cases}
        self.keys: dict[str, str] = {}
        now = datetime.now(UTC)
        self.office = Repository.create(place / "office", now)
        self.cloud = Cloud(place / "cloud", place / "office", endpoint="tcp://127.0.0.1:*")
        self.wanted: dict[int, Desired] = {}
        for revision in range(4):
            path = place / f"{revision}.ace"
            self._packed(revision).save(path)
            with opened(path) as bundle:
                self.office.add(signable(bundle, probation_s=0.1), now)
                desired = bundle.desired(ANY_DEVICE, revision=revision, issued=now.isoformat())
                self.wanted[revision] = desired.model_copy(update={"probation_s": 0.2})
            self.cloud.upload(ROOT, path)
        self.listener = bind(Http(port=0))
        self.server = uvicorn.Server(configuration(self.cloud, Http()))
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))

    def _packed(self, number: int) -> Pack:
        """The factory's (0), and model 1.1.0 and so on; the last has a golden clip: many files."""
        return packed(self.place / "manifests", model=f"1.{number}.0", weights=b"%d" % number * 5000, golden=number == VERIFIED)

    def run(self) -> None:
        self.cloud.start()
        self.thread.start()
        nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.agent.lives"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOUSE
        )
        try:
            self._members()
            self._live(nursery)
        finally:
            assert nursery.stdin is not None
            assert nursery.stdout is not None
            nursery.stdin.close()
            nursery.wait(60)
            nursery.stdout.close()
            self.server.should_exit = True
            self.thread.join()
            self.cloud.stop()

    def _members(self) -> None:
        host, port = self.listener.getsockname()
        root = self.office.first_root()
        (self.place / "root.json").write_bytes(root)
        member = Membership(
            endpoint=self.cloud.gateway.endpoint, key=self.cloud.keys.name, http=f"http://{host}:{port}", root=root.decode()
        )
        write(self.place / "member.json", member)
        for name in self.cases:
            install_factory(self._store(name), self.place / "0.ace")
            self.keys[name] = KeyPair.at(self._store(name) / "keys" / "device.key").name
        rows = [{"id": key, "name": name, "cohort": "killed", "state": "approved"} for name, key in self.keys.items()]
        with self.cloud.database.write() as connection:
            connection.execute(insert(devices), [{**row, "about": "{}", "enrolled": 0.0, "revision": 0} for row in rows])
            inventory.note_shadows(connection, dict.fromkeys(self.keys.values(), Reported(active=self.wanted[0].active)), 0.0)
        self.cloud.desk.refresh()

    def _store(self, name: str) -> Path:
        place = self.place / name
        place.mkdir(exist_ok=True)
        return place / STORE

    def _live(self, nursery: subprocess.Popen[str]) -> None:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        waiting = list(self.cases.values())
        while not all(life.over for life in self.lives.values()):
            while waiting and len(self.cases) - len(waiting) - sum(life.over for life in self.lives.values()) < AT_ONCE:
                nursery.stdin.write(json.dumps(asdict(self._plan(waiting.pop(0)))) + "\n")
                nursery.stdin.flush()
            self._hear(json.loads(nursery.stdout.readline()))

    def _plan(self, case: Case) -> Plan:
        """What is wanted of it lies ready."""
        name, place = str(case), self.place / str(case)
        if case.state in (State.ROLLING_BACK, State.ROLLED_BACK):
            (place / "poison").touch()
        elif case.state is State.FAILED:
            (place / "refuse").touch()
        elif case.state is State.SUPERSEDED:
            (place / STORE / "locks").mkdir()
            (place / STORE / "locks" / "lock").touch()
        if case.fault.startswith("in "):
            (place / f"kill-{case.fault[3:]}").touch()
        self._want(case, case.first)
        return Plan(
            name, str(place), case.state.value, case.fault, case.power, case.offline, revision=2 if case.state is State.SUPERSEDED else 1,
            root=str(self.place / "root.json"), member=str(self.place / "member.json"),
        )  # fmt: skip

    def _want(self, case: Case, revision: int) -> None:
        """From the cloud, or in a signed file in its inbox."""
        shadow = Shadow() if case.state is State.SHADOW else None
        if not case.offline:
            item = f"model/eye@1.{revision}.0"
            self.cloud.reload(ROOT, Ask(items=(item,), device=str(case), probation_s=0.2, shadow=shadow))
            return
        file = self.place / f"stick-{revision}-{bool(shadow)}.ace"
        if not file.exists():
            update = self.office.update(self.wanted[revision].model_copy(update={"shadow": shadow}), datetime.now(UTC))
            self._packed(revision).save(file, update.encoded())
        inbox = self.place / str(case) / STORE / "inbox"
        inbox.mkdir(exist_ok=True)
        shutil.copy(file, self.place / str(case) / "stick")
        (self.place / str(case) / "stick").rename(inbox / f"{revision}.ace")

    def _hear(self, said: dict[str, Any]) -> None:
        life = self.lives[said["name"]]
        if "wrong" in said:
            life.wrong.append(f"{said['wrong']}\n{said['where']}")
        elif "died" in said:
            life.statuses.append(said["died"])
        elif "over" in said:
            life.over = True
            with self.cloud.database.read() as connection:
                life.history = inventory.history(connection, self.keys[said["name"]])[::-1]
        else:
            life.said.append(said["said"])
        lock = self.place / said["name"] / STORE / "locks" / "lock"
        if lock.exists():
            if "update: waits: " in said.get("said", ""):
                self._want(self.cases[said["name"]], 2)
            elif "died" in said or said.get("said", "").startswith("update: superseded"):
                lock.unlink()


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """All cases that were asked for, some at once."""
    here = [item for item in request.session.items if item.path == request.path]
    asked = [item.callspec.params["case"] for item in here if getattr(item, "originalname", "") == CASE]
    with tempfile.TemporaryDirectory(prefix="ace-test-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        made = Table(Path(folder), asked)
        made.run()
        yield made


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_killed_in_every_state(table: Table, case: Case) -> None:
    """The exact chain of states that follows, and what the cloud learns: nothing is missing, nothing told twice."""
    life = table.lives[str(case)]
    assert not life.wrong, life.wrong[0]
    assert life.statuses == case.statuses, life.said
    assert (ERRED in life.said) == (case.fault == "error")
    steps = [step for step in life.history if step["state"].upper() in set(State)]
    assert [step["state"].upper() for step in steps] == case.chain, life.said
    assert [step["outcome"] for step in steps if step["outcome"] != "working"] == case.outcomes
    store = table.place / str(case) / STORE
    check(store)
    with Store(store) as opened_store:
        active = opened_store.generations.role("active")
        assert active is not None
        assert active.desired.active[0].models["detector"].version == f"1.{2 if case.state is State.SUPERSEDED else case.first}.0"


CASE = test_killed_in_every_state.__name__


def test_the_table_knows_every_state() -> None:
    for fault in ("written", "done", "error"):
        assert {case.state for case in CASES if case.fault == fault} == set(State)
