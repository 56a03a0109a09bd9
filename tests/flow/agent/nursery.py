"""Real devices without a new interpreter for each: `ace agent` and its engine, forked from a process that has imported them.

`python -m tests.flow.agent.nursery` reads a line of JSON for each device, {"arguments", "errors", "cwd"}, and says {"pid"} of its agent,
and later that with its {"status"}.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow.cli import main as ace_main
from flow.switch.__main__ import main as engine_main

from .forks import Household, forked
from .world import PATIENCE_S, Device, environment

HOUSE = Path(__file__).parents[3]
NEEDED = (
    "_strptime", "encodings.idna", "h11", "httpcore", "httpx", "zmq.utils.monitor", "zmq.utils.z85", "securesystemslib.signer",
    "tuf.ngclient", "tuf.api.serialization.json", "flow.cli.app", "flow.cli.agent", "flow.executor", "flow.prepare", "flow.switch.host",
    "flow.switch.runtime", "flow.sinks.jsonl", "manifests.loading", "manifests.sync.agent.agent", "ace_test_operators", "ace_test_sources",
)  # fmt: skip
"""What agents and engines import when they need it."""


# ---- the test's side


@dataclass
class Child:
    """A process of the nursery's, as far as `Device` uses one of its own."""

    nursery: Nursery
    pid: int

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        return self.nursery.status(self.pid, timeout)


class Nursery:
    """The process that devices are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.agent.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=HOUSE,
            env=environment(),
        )  # fmt: skip
        self._statuses: dict[int, int] = {}

    def start(self, device: Device) -> Child:
        assert self._process.stdin is not None
        order = {"arguments": device.arguments(), "errors": str(device.folder / f"{device.name}.txt"), "cwd": str(device.folder)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        while "status" in (said := self._hear(PATIENCE_S)):
            pass
        return Child(self, said["pid"])

    def status(self, pid: int, timeout: float) -> int:
        """How an agent has ended. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        while pid not in self._statuses:
            self._hear(max(0.0, until - time.monotonic()))
        return self._statuses[pid]

    def _hear(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("an agent", timeout)
        line = self._process.stdout.readline()
        assert line, "the nursery is gone"
        said: dict[str, Any] = json.loads(line)
        if "status" in said:
            self._statuses[said["pid"]] = said["status"]
        return said

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@dataclass
class ForkedDevice(Device):
    """The same without a new interpreter."""

    nursery: Nursery | None = None

    def start(self) -> Device:
        assert self.nursery is not None
        self.process = self.nursery.start(self)  # type: ignore[assignment]
        return self


# ---- the nursery's side


def household(order: Mapping[str, Any]) -> None:
    """One device, to the end of its agent."""
    errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    told = os.dup(1)
    os.set_inheritable(told, False)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["cwd"])
    home = Household(engine, failed)
    pid = 0

    def born(number: int) -> None:
        nonlocal pid
        pid = number
        os.write(told, json.dumps({"pid": number}).encode() + b"\n")

    def agent() -> None:
        os.close(told)
        sys.argv = ["ace", *order["arguments"]]
        ace_main()

    status = home.live(agent, born)
    home.end()
    os.write(told, json.dumps({"pid": pid, "status": status}).encode() + b"\n")


def engine(command: list[str], lock: int) -> None:
    """`python -m flow.switch ARGUMENTS… --lock NUMBER`; the number is another one here."""
    sys.exit(engine_main([*command[3:-1], str(lock)]))


def failed(error: BaseException) -> None:
    traceback.print_exception(error)


def main() -> None:
    for name in NEEDED:
        importlib.import_module(name)
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        forked(lambda order=order: household(order), failed)  # type: ignore[misc]


if __name__ == "__main__":
    main()
