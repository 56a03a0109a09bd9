"""The engine's process: one at a time, started anew when it dies, found again by the next agent."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manifests.sync.agent import process
from manifests.sync.agent.process import EngineProcess

ENGINE = textwrap.dedent(
    """
    import os, signal, socket, sys, time
    path, lock = sys.argv[-3], int(sys.argv[-1])
    os.set_inheritable(lock, False)
    os.pwrite(lock, f"{os.getpid()}\\n".encode(), 0)
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        time.sleep(60)
    """
)


class Keeper:
    """An agent's side of an engine: what it heard."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.ready = threading.Semaphore(0)
        self.said: list[str] = []
        self.stopped = False
        command = [sys.executable, "-c", ENGINE, *words]
        self.process = EngineProcess(command, folder / "run", ready=self.ready.release, say=self.said.append)
        self.process.start()

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.process.stop()

    def wait_ready(self) -> int:
        assert self.ready.acquire(timeout=60), self.said
        return self.process.pid


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Callable[..., Keeper]]:
    made: list[Keeper] = []

    def make(*words: str) -> Keeper:
        made.append(Keeper(tmp_path, *words))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_engine_that_dies_is_started_anew(keeper: Callable[..., Keeper]) -> None:
    kept = keeper()
    first = kept.wait_ready()
    os.kill(first, signal.SIGKILL)
    second = kept.wait_ready()
    assert second != first
    assert kept.said == [f"the engine (process {first}) has ended (Killed); it is started again"]
    kept.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_the_next_agent_finds_the_engine_that_lives(keeper: Callable[..., Keeper]) -> None:
    kept = keeper()
    first = kept.wait_ready()
    other = keeper()
    wait_for(lambda: other.process.pid)
    assert other.process.pid == first, "there is never a second one"
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: kept.process.pid == other.process.pid != first and kept.process.pid)
    assert kept.process.pid != 0


def test_one_that_does_not_end_in_order_is_killed(keeper: Callable[..., Keeper], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "END_S", 0.2)
    kept = keeper("deaf")
    kept.wait_ready()
    kept.stop()
    assert kept.said == ["the engine did not end in order: it is killed"]


def test_a_command_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    kept = EngineProcess([str(tmp_path / "nothing")], tmp_path / "run", ready=lambda: None, say=said.append)
    kept.start()
    wait_for(lambda: said)
    kept.stop()
    assert said[0] == "the engine cannot be started: No such file or directory; it is tried again"


def test_an_engine_that_was_started_with_other_settings_is_ended(keeper: Callable[..., Keeper]) -> None:
    kept = keeper("old")
    first = kept.wait_ready()
    other = keeper("new")
    wait_for(lambda: "the engine was started with other settings: it is ended, and started anew" in other.said)
    kept.process.end()
    assert other.wait_ready() != first
