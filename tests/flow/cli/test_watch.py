from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from flow.cli import watch as module
from flow.cli.watch import signals, watch


class Running:
    """An executor that ends when told to, or after `script` has been played: one call a look."""

    def __init__(self, *script: Callable[[], None], failed: str | None = None, stubborn: bool = False) -> None:
        self.script = list(script)
        self.failed = failed
        self.stubborn = stubborn
        self.told: list[str] = []

    def wait(self, timeout: float | None = None) -> bool:
        if self.script:
            self.script.pop(0)()
            return False
        return "stop" in self.told or not self.stubborn

    def drain(self) -> None:
        self.told.append("drain")

    def stop(self) -> None:
        self.told.append("stop")

    def snapshot(self) -> dict[str, Any]:
        return {}


def signalled(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def nothing() -> None: ...


def watched(run: Running, **more: Any) -> int:
    with signals() as asked:
        return watch(run, asked, **more)  # type: ignore[arg-type]


def test_a_run_that_ends_is_done() -> None:
    run = Running(nothing)
    assert watched(run) == 0
    assert run.told == []


def test_a_failed_run_has_failed() -> None:
    assert watched(Running(failed="front: expected a video, got 0 bytes")) == 1


def test_an_interrupt_drains_once() -> None:
    run = Running(signalled(signal.SIGINT), nothing, nothing)
    assert watched(run) == 130
    assert run.told == ["drain"]


def test_a_second_interrupt_stops_at_once() -> None:
    run = Running(signalled(signal.SIGINT), signalled(signal.SIGINT), stubborn=True)
    assert watched(run) == 130
    assert run.told == ["drain", "stop"]


def test_terminate_drains_and_is_no_failure() -> None:
    run = Running(signalled(signal.SIGTERM), nothing)
    assert watched(run) == 0
    assert run.told == ["drain"]


def test_a_drain_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS", -1.0)
    run = Running(signalled(signal.SIGTERM), nothing, stubborn=True)
    assert watched(run) == 0
    assert run.told == ["drain", "stop"]


def test_figures_are_shown_while_it_runs() -> None:
    seen: list[Any] = []
    assert watched(Running(nothing, nothing), show=seen.append) == 0
    assert seen == [{}, {}]


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    watched(Running(nothing))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
