"""Threads of one process share an interpreter: how long one of them may keep it while others wait for their turn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.0005
"""Python's own 5 ms make a frame wait so long at each hop beside an operator that computes in Python."""
_lock = threading.Lock()
_before: list[float] = []


@contextmanager
def short_turns() -> Iterator[None]:
    """Inside, a thread that computes in Python gives way after `SWITCH_S`. Runs that overlap share this; the last puts back what was."""
    with _lock:
        _before.append(sys.getswitchinterval())
        sys.setswitchinterval(min(SWITCH_S, _before[0]))
    try:
        yield
    finally:
        with _lock:
            first = _before[0]
            _before.pop()
            if not _before:
                sys.setswitchinterval(first)
