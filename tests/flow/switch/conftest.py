from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.plan.value import Plan
from flow.result import Result

PRIME, LEVELS = 9973, 251


def levels(frames: int) -> list[int]:
    """Levels of the pictures of `stamps:`."""
    return [(7 * seq + 13) % LEVELS for seq in range(frames)]


def sums(values: list[int]) -> list[int]:
    """What test.sum gives when it sees every value once and in order."""
    total, found = 0, []
    for value in values:
        total = (31 * total + value + 1) % PRIME
        found.append(total)
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Business manifest: graph, outputs, inputs."""

    def made(name: str, graph: str, outputs: Mapping[str, str], inputs: tuple[str, ...] = ("camera",), version: str = "1.0.0") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"apiVersion: ace/v1\nkind: Business\nname: {name}\nversion: {version}\n"
            f"inputs: {{{', '.join(f'{one}: image' for one in inputs)}}}\n"
            f"graph:\n{textwrap.indent(textwrap.dedent(graph).strip(), '  ')}\n"
            f"outputs: {{{', '.join(f'{key}: {value}' for key, value in outputs.items())}}}\n"
        )
        return path

    return made


def live_plan(*paths: Path, bind: Mapping[str, str], **options: Any) -> Plan:
    return flow.make_plan(manifests.load(*paths, bind=bind), live=True, **{"cores": 2, **options})


class Reader:
    """Takes in all results of a run as they come."""

    def __init__(self, run: flow.Executor) -> None:
        self.results: dict[str, list[Result]] = {}
        self._run = run
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for result in self._run.results():
                self.results.setdefault(f"{result.business}.{result.output}", []).append(result)
        except BaseException as error:
            self.failure = error

    def join(self) -> None:
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def wait_for(self, output: str, results: int) -> None:
        """Waits until so many results of an output have come."""
        give_up = time.monotonic() + 30
        while self.count(output) < results:
            assert time.monotonic() < give_up, f"{output}: expected {results} results, got {self.count(output)}"
            time.sleep(0.005)

    def count(self, output: str) -> int:
        return len(self.results.get(output, ()))


@contextmanager
def running(plan: Plan, **options: Any) -> Iterator[tuple[flow.Executor, Reader]]:
    """A run, all its results taken in; left when it has ended by itself, or was stopped inside."""
    with flow.Executor(plan, **options) as run:
        reader = Reader(run)
        assert run.wait_running(60)
        try:
            yield run, reader
        except BaseException:
            run.stop()
            raise
        reader.join()


def in_order(results: list[Result], frames: int | None = None) -> None:
    """Every frame once and in order."""
    found = [result.seq for result in results]
    assert found == list(range(len(found) if frames is None else frames))


@pytest.fixture
def deaths_are_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers die because a test kills them: no node is to blame, however often it happens."""
    monkeypatch.setattr("flow.executor.supervisor.MOST_RESTARTS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_OPENINGS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_DEATHS", 1000)
    monkeypatch.setattr("flow.executor.workers.BACKOFF_MOST_S", 0.0)
