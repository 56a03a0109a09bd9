"""Measures one model: latency, load time and memory, engine beside engine."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypedDict

from devices import session, threads
from devices.engine import EngineError, ModelInfo
from devices.model import inspect

ROUNDS = 20
"""How often the engines take turns, so that what else the machine does meets all of them."""
PATIENCE_S = 300.0
"""How long one answer of a measuring process may take."""


class BenchResult(TypedDict):
    """One engine's figures. `load_ms`: file to session, the engine's library already imported; `first_ms`: the first run; `median_ms` and
    `p99_ms`: of `runs` later runs; `peak_mb`: largest resident memory of a process that did only this, interpreter and NumPy included."""

    model: str
    engine: str
    precision: str
    threads: int
    median_ms: float
    p99_ms: float
    load_ms: float
    first_ms: float
    peak_mb: float
    runs: int


def bench_model(
    path: str | Path,
    engines: Sequence[str] = ("auto",),
    precision: str = "auto",
    threads: int = 1,
    runs: int = 100,
    *,
    dims: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[BenchResult]:
    """Runs a model on random input in one process an engine, the processes taking turns; only one of them works at a time.

    `progress` is called with (runs done, runs in all). Raises EngineError, also when an engine's process dies or hangs.
    """
    if runs < 1 or threads < 1 or not engines:
        raise EngineError(f"bench: expected runs, threads and engines of at least 1, got {runs}, {threads} and {len(engines)}")
    model = inspect(path, dims=dims).as_model()
    names = list(dict.fromkeys(session.choose_for(model, name).name for name in engines))
    processes: list[_Process] = []
    try:
        for name in names:
            processes.append(_Process(model, name, precision, threads))  # noqa: PERF401 (those started are ended when a later one fails)
        loaded = [process.ask("load") for process in processes]
        times: list[list[int]] = [[] for _ in processes]
        for turn in range(ROUNDS):
            count = runs * (turn + 1) // ROUNDS - runs * turn // ROUNDS
            for process, mine in zip(processes, times, strict=True):
                if count:
                    mine += process.ask(count)["run_ns"]
                    if progress:
                        progress(sum(map(len, times)), runs * len(processes))
        peaks = [process.ask("peak")["peak_bytes"] for process in processes]
    finally:
        for process in processes:
            process.end()
    return [
        BenchResult(
            model=str(path), engine=name, precision=precision, threads=threads,
            median_ms=statistics.median(mine) / 1e6, p99_ms=_percentile(mine, 0.99) / 1e6,
            load_ms=load["load_ns"] / 1e6, first_ms=load["first_ns"] / 1e6, peak_mb=peak / 2**20, runs=len(mine),
        )
        for name, mine, load, peak in zip(names, times, loaded, peaks, strict=True)
    ]  # fmt: skip


def _percentile(times: list[int], part: float) -> int:
    """Nearest rank."""
    return sorted(times)[min(len(times) - 1, int(part * len(times)))]


class _Process:
    """A fresh interpreter that loads one model with one engine, and answers questions in JSON lines."""

    def __init__(self, model: ModelInfo, engine: str, precision: str, threads_: int) -> None:
        self.engine = engine
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        environment = os.environ | threads.environment(threads_) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "devices.bench_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
        )  # fmt: skip
        described = asdict(model) | {"path": str(model.path.absolute())}
        self._order = {"model": described, "engine": engine, "precision": precision, "threads": threads_}

    def ask(self, question: str | int) -> dict[str, Any]:
        """`load`, `peak`, or a number of runs. Raises EngineError."""
        assert self._process.stdin
        assert self._process.stdout
        line = b""
        try:
            self._process.stdin.write(json.dumps(self._order if question == "load" else question).encode() + b"\n")
            self._process.stdin.flush()
            if select.select([self._process.stdout], [], [], PATIENCE_S)[0]:
                line = self._process.stdout.readline()
            else:
                raise EngineError(f"bench: engine {self.engine}: expected an answer within {PATIENCE_S:.0f} s, got none")
        except BrokenPipeError:
            pass
        if not line:
            raise EngineError(f"bench: engine {self.engine}: its process ended with status {self._process.wait()}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
