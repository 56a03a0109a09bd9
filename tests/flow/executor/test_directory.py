"""The private folder of a run: what dead runs left goes, what a living one has just made stays."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest

from flow.executor import directory
from flow.executor.directory import RunDirectory


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(directory, "_base", lambda: tmp_path / "ace")
    return tmp_path / "ace"


def test_what_dead_runs_left_is_swept(base: Path) -> None:
    base.mkdir(mode=0o700)
    (base / "run-unlocked").mkdir()
    (base / "run-ended").mkdir()
    (base / "run-ended" / "lock").touch()
    living = RunDirectory()
    other = RunDirectory()
    assert sorted(base.iterdir()) == sorted([living.path, other.path])
    living.remove()
    other.remove()
    assert not list(base.iterdir())


def test_runs_that_start_together_leave_each_other_alone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has made its folder and is not yet come to lock it: others that start now wait."""
    made, go, waited = threading.Event(), threading.Event(), []
    mkdtemp = tempfile.mkdtemp

    def slow(**options: str) -> str:
        path = mkdtemp(**options)
        if not made.is_set():
            made.set()
            waited.append(go.wait(0.3))
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", slow)
    runs: list[RunDirectory] = []
    first = threading.Thread(target=lambda: runs.append(RunDirectory()))
    first.start()
    made.wait()
    runs.append(RunDirectory())
    go.set()
    first.join()
    assert waited == [False]
    assert len(list(base.iterdir())) == len(runs) == 2
    for run in runs:
        assert (run.path / "lock").exists()
        run.remove()
