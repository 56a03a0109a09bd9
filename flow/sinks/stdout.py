"""JSON lines on standard output."""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Mapping
from typing import ClassVar

from flow.plan.value import Sink as SinkPlan
from flow.result import Result
from flow.sinks.contract import SinkClosedError, SinkError
from ops.value import Image

STDOUT = 1


class Stdout:
    """`-`. Rows of several outputs and workers never mix: each is written under a lock of its own description of the same file."""

    targets: ClassVar[tuple[str, ...]] = ("-",)
    lasting: ClassVar[bool] = True
    wants: str = "result"

    @classmethod
    def check(cls, target: str) -> None:
        try:
            os.fstat(STDOUT)
        except OSError:
            raise SinkError("-: expected an open standard output, got a closed one; name a file instead, as in out.jsonl") from None

    def __init__(self, plan: SinkPlan, fps: float) -> None:
        self._plan = plan
        self._lock: int | None = None

    def open(self, *, resume: bool) -> Mapping[str, int]:
        self.check("-")
        try:
            # flock belongs to an open file description, and workers inherit one: only a new one keeps them apart.
            self._lock = os.open(f"/proc/self/fd/{STDOUT}", os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            self._lock = None  # a socket has no second description; its rows are whole up to one write
        return {}

    def write(self, result: Result, picture: Image | None) -> None:
        line = result.line()
        try:
            if self._lock is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                while line:
                    try:
                        line = line[os.write(STDOUT, line) :]
                    except BlockingIOError:  # whoever started us made it non-blocking
                        select.select([], [STDOUT], [])
            finally:
                if self._lock is not None:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                raise SinkClosedError("-: who read standard output has gone") from None
            raise SinkError(f"-: expected to write row {result.seq} of {result.stream}, got: {error.strerror}") from None

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
