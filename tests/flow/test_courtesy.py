"""Work that steps back: also for an ordinary user, and never for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from flow.courtesy import STEPS, courteously

SCRIPT = """
import json, os, sys, threading
from flow.courtesy import courteously

def here():
    return os.getpriority(os.PRIO_PROCESS, 0)

if sys.argv[1] == "user" and os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
seen, stays, tids = {}, threading.Event(), []

def work():
    seen["work"] = here()
    def live():
        tids.append(threading.get_native_id())
        stays.wait()
    threading.Thread(target=live).start()
    while not tids:
        pass

before = here()
courteously(work, threads=int(sys.argv[2]))
seen["left"] = os.getpriority(os.PRIO_PROCESS, tids[0]) - before
stays.set()
print(json.dumps({"work": seen["work"] - before, "left": seen["left"], "own": here() - before}))
"""


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def told(who: str, threads: int) -> dict[str, int]:
    if niceness() >= STEPS:
        pytest.skip("this process has stepped back as far itself")
    ran = subprocess.run([sys.executable, "-c", SCRIPT, who, str(threads)], capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(ran.stdout)
    return found


def may_come_forward() -> bool:
    """Root may, but not in every container."""
    code = "import os; os.nice(1); os.nice(-1)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_an_ordinary_user_steps_back_for_the_work_and_for_nothing_else() -> None:
    back = STEPS - niceness()
    assert told("user", 1) == {"work": back, "left": back, "own": 0}


def test_threads_that_could_not_come_forward_never_step_back() -> None:
    assert told("user", 2) == {"work": 0, "left": 0, "own": 0}


def test_threads_that_carry_frames_come_forward_again_where_that_is_allowed() -> None:
    if not may_come_forward():
        pytest.skip("needs a process that may lower its niceness")
    assert told("root", 2) == {"work": STEPS - niceness(), "left": 0, "own": 0}


def test_what_the_work_raises_is_raised() -> None:
    def fails() -> None:
        raise ValueError(threading.current_thread().name)

    with pytest.raises(ValueError, match="courtesy" if niceness() < STEPS else "MainThread"):
        courteously(fails, threads=1)
