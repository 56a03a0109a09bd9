"""Runs a plan to its end while signals are heard and figures are shown."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from flow.cli.failure import FAILED, INTERRUPTED

if TYPE_CHECKING:
    from flow.executor import Executor

Show = Callable[[Mapping[str, Any]], None]

DRAIN_SECONDS = 10.0
"""How long frames in flight may take to come out after an interrupt."""

LOOK_SECONDS = 0.25


class Asked:
    """What signals have asked for: SIGINT drains, a second one stops at once; SIGTERM drains."""

    def __init__(self) -> None:
        self.interrupts = 0
        self.terminated = False

    @property
    def drain(self) -> bool:
        return self.terminated or self.interrupts > 0

    @property
    def stop(self) -> bool:
        return self.interrupts > 1

    def heard(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.interrupts += 1
        else:
            self.terminated = True


@contextmanager
def signals() -> Iterator[Asked]:
    """Inside, SIGINT and SIGTERM are requests, not exceptions."""
    asked = Asked()
    before = {number: signal.signal(number, asked.heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(run: Executor, asked: Asked, show: Show | None = None) -> int:
    """Waits for the end of a started run and returns the command's exit status. `show` gets a snapshot now and then."""
    deadline: float | None = None
    while not run.wait(LOOK_SECONDS):
        if asked.stop or (deadline is not None and time.monotonic() > deadline):
            run.stop()
        elif asked.drain and deadline is None:
            deadline = time.monotonic() + DRAIN_SECONDS
            run.drain()
        if show is not None:
            show(run.snapshot())
    if asked.interrupts:
        return INTERRUPTED
    return FAILED if run.failed else 0
