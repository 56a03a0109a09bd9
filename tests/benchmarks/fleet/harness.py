"""The fleet's rig: a prepared folder, the real `ace cloud`, client processes, and the account of who got what."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import insert

from manifests.cloud.people import Person
from manifests.cloud.service import Cloud
from manifests.cloud.tables import devices as table
from manifests.sync.channel.curve import KeyPair
from manifests.trust.repository import Repository
from manifests.trust.store import TrustStore, folder_fetch
from tests.manifests.cloud.fleet import ALL, ALL_BYTES, RUNNING

HOUSE = Path(__file__).resolve().parents[3]


@dataclass
class Rig:
    """`count` devices in `processes` processes; everything lies in `folder`."""

    folder: Path
    count: int
    processes: int
    server: subprocess.Popen[str] | None = None
    clients: list[subprocess.Popen[str]] = field(default_factory=list)
    endpoint: str = "tcp://127.0.0.1:*"
    address: str = ""
    token: str = ""

    def prepare(self) -> None:
        """Keys, signatures, the bundle, and all devices as approved."""
        repository = Repository.create(self.folder / "trust", datetime.now(UTC))
        repository.add(ALL, datetime.now(UTC))
        (self.folder / "all.ace").write_bytes(ALL_BYTES)
        TrustStore(self.folder / "device", repository.first_root()).refresh(folder_fetch(repository.metadata), datetime.now(UTC))
        keys = [KeyPair.create() for _ in range(self.count)]
        cloud = Cloud(self.folder / "ace-cloud", self.folder / "trust", endpoint="tcp://127.0.0.1:*")
        cloud.upload(Person("root", "admin"), self.folder / "all.ace")
        self.token = cloud.first_person() or ""
        row = {"cohort": "all", "state": "approved", "about": "{}", "enrolled": 0.0, "revision": 0}
        with cloud.database.write() as connection:
            connection.execute(insert(table), [{**row, "id": each.name, "name": f"d{number}"} for number, each in enumerate(keys)])
        self.key = cloud.keys.name
        cloud.stop()
        self.secrets = [each.secret.hex() for each in keys]

    def serve(self) -> None:
        """Starts the server, at the same place as before."""
        command = [sys.executable, "-c", "from flow.cli import main; main()", "cloud"]
        options = ["--trust", "trust", "--listen", self.endpoint, "--http", "127.0.0.1:0"]
        environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
        self.server = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, cwd=self.folder, env=environment)
        assert self.server.stdout is not None
        self.endpoint = self.server.stdout.readline().split()[1]
        self.address = self.server.stdout.readline().split()[1]

    def kill(self) -> None:
        """The server is gone, from one moment to the next."""
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        assert self.server.stdout is not None
        self.server.stdout.close()

    def connect(self) -> None:
        """Starts the devices."""
        running = [each.model_dump(mode="json") for each in RUNNING]
        share = -(-self.count // self.processes)
        for number in range(self.processes):
            plan = {
                "endpoint": self.endpoint, "cloud": self.key, "secrets": self.secrets[number * share : (number + 1) * share],
                "running": running, "trust": str(self.folder / "device"), "root": str(self.folder / "trust" / "metadata" / "1.root.json"),
            }  # fmt: skip
            path = self.folder / f"plan-{number}.json"
            path.write_text(json.dumps(plan))
            command = [sys.executable, "-m", "tests.benchmarks.fleet.clients", str(path)]
            environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
            self.clients.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HOUSE, env=environment))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        response = httpx.request(method, self.address + path, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=120)
        assert response.is_success, response.text
        return response.json()

    def number(self, query: str, *values: Any) -> int:
        """One number from the server's database."""
        with sqlite3.connect(self.folder / "ace-cloud" / "cloud.db", timeout=60) as database:
            found = database.execute(query, values).fetchone()[0]
        database.close()
        return int(found)

    def wait(self, what: str, there: Callable[[], bool], seconds: float) -> float:
        """How long it took."""
        began = time.monotonic()
        while not there():
            assert time.monotonic() < began + seconds, f"it did not happen in {seconds:g} s: {what}"
            time.sleep(0.1)
        return time.monotonic() - began

    def rollout(self, item: str, stages: tuple[str, ...] = ("2%", "100%")) -> int:
        body = {"cohort": "all", "item": item, "stages": stages, "deadline_s": 3600}
        return int(self.ask("POST", "/v1/rollouts", body)["id"])

    def rolled_out(self, number: int) -> bool:
        return bool(self.number("SELECT count(*) FROM rollouts WHERE id = ? AND state = 'done'", number))

    def cost(self) -> tuple[float, int]:
        """CPU seconds and resident bytes of the server."""
        assert self.server is not None
        process = psutil.Process(self.server.pid)
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss

    def carrying(self) -> float:
        """CPU seconds of the server's thread that libzmq carries all connections in."""
        assert self.server is not None
        times = {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(self.server.pid).threads()}
        names = {each: Path(f"/proc/{self.server.pid}/task/{each}/comm").read_text() for each in times}
        return sum(seconds for each, seconds in times.items() if names[each].startswith("ZMQbg/IO"))

    def database_bytes(self) -> int:
        """What the server's database takes on disk."""
        return sum(path.stat().st_size for path in (self.folder / "ace-cloud").glob("cloud.db*"))

    def account(self) -> dict[str, Any]:
        """Ends the devices; compares what each has done with what the cloud has heard. Nothing may be missing, nothing be there twice."""
        applied: dict[str, list[int]] = {}
        total = Counter[str]()
        for client in self.clients:
            client.send_signal(signal.SIGTERM)
        for client in self.clients:
            out, _ = client.communicate(timeout=120)
            told = json.loads(out)
            applied |= told.pop("applied")
            total.update(told)
        with sqlite3.connect(self.folder / "ace-cloud" / "cloud.db") as database:
            heard = database.execute("SELECT device, revision, state, count(*) FROM transitions GROUP BY 1, 2, 3").fetchall()
            newest = dict(database.execute("SELECT id, revision FROM devices").fetchall())
        database.close()
        expected = {
            (device, revision, state): 1
            for device in applied
            for revision in applied[device]
            for state in ("fetch", "probation", "committed")
        }
        assert {(device, revision, state): times for device, revision, state, times in heard} == expected
        for device, revisions in applied.items():
            assert revisions == sorted(set(revisions)), device
            assert revisions[-1] == newest[device], device
        assert len(applied) == self.count
        return dict(total)

    def close(self) -> None:
        """Whatever still runs ends."""
        for process in (*self.clients, *([self.server] if self.server else [])):
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
