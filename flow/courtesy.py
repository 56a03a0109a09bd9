"""Work that steps back for those that carry frames on this device, in a process that may not come forward again.

Lowering a niceness takes a right that an ordinary user does not have (RLIMIT_NICE is 0 by default), and so does leaving SCHED_IDLE. But on
Linux every thread has a niceness of its own: the work is done in a thread that steps back and ends with it, and frames are carried by
another, which never did. What it reads from disk steps back with it (ioprio_set(2): where no class is set, the niceness decides).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")

STEPS = 10
"""A tenth of a core where frames take all the rest: at 19 it would be a seventieth, and a plan might never get ready (sched(7))."""


def courteously(work: Callable[[], Answer], *, threads: int = 1) -> Answer:
    """Does the work in a thread that has stepped back, waits for its end, gives what it gives. Raises what the work raises.

    `threads`: as many will carry frames. Those that the work leaves behind begin with its niceness and come forward afterwards; where
    that is not allowed, work that leaves some is done as if this function were not there.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    if own >= STEPS:
        return work()
    before = _threads()
    done: Future[Answer] = Future()

    def do() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, STEPS)
        if threads > 1 and not _comes_forward(0, own):
            done.cancel()
            return
        os.setpriority(os.PRIO_PROCESS, 0, STEPS)
        try:
            done.set_result(work())
        except BaseException as error:  # raised where the work was asked for
            done.set_exception(error)

    aside = threading.Thread(target=do, name="courtesy")
    aside.start()
    aside.join()
    for thread in _threads() - before if threads > 1 else ():
        _comes_forward(thread, own)
    return work() if done.cancelled() else done.result()


def _comes_forward(thread: int, niceness: int) -> bool:
    """Gives a thread (0: this one) this niceness again; whether that is allowed."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
        except PermissionError:
            return False
    return True


def _threads() -> set[int]:
    return {int(each.name) for each in Path("/proc/self/task").iterdir()}
