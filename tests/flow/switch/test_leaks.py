"""What many reloads leave behind: nothing, in no process."""

from __future__ import annotations

import gc
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import flow

from .conftest import live_plan, running
from .test_reload import SUM

pytestmark = pytest.mark.usefixtures("operators")
WARM, MORE = 4, 6


def descriptors(pid: int) -> Counter[str]:
    """Open files of a process by kind: what they are called, less numbers."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = str(entry.readlink())
        except OSError:
            continue
        if name.startswith(("/memfd:ace-", "anon_inode:", "socket:")):
            found["open " + "-".join(re.split(r"[-:\d ]+", name)[:2])] += 1
    return found


def mappings(pid: int) -> Counter[str]:
    """Shared memory that a process has mapped, by kind."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    names = [line.partition("memfd:")[2].partition(" ")[0] for line in lines if "memfd:ace-" in line]
    return Counter(f"mapped {'-'.join(name.split('-')[:2])}" for name in names)


def held(run: flow.Executor) -> dict[str, Counter[str]]:
    """What each process has, by its part in the run."""
    supervisor = run._running_supervisor()
    assert supervisor.nursery is not None
    assert supervisor.nursery._process is not None
    gc.collect()  # of this process, where other tests may have left something; workers must do without
    processes = {"executor": os.getpid(), "nursery": supervisor.nursery._process.pid}
    for worker in supervisor.workers.values():
        lane = supervisor.wiring.lanes[worker.seat.lane]
        assert worker.pid is not None
        processes[lane.name] = worker.pid
    return {name: descriptors(pid) + mappings(pid) for name, pid in processes.items()}


def test_reloads_leave_no_descriptor_and_no_memory_behind(write: Callable[..., Path]) -> None:
    bind = {"add.camera": "stamps:frames=1000000&fps=100&live=1"}
    plans = [live_plan(write("add", SUM.format(wait=wait), {"sum": "sum"}), bind=bind, workers="processes") for wait in (0.0, 0.1)]
    with running(plans[0]) as (run, reader):

        def reload(times: int) -> None:
            for number in range(times):
                run.stage(plans[(number + 1) % 2], timeout_s=60)
                run.switch(timeout_s=60)
            reader.wait_for("add.sum", reader.count("add.sum") + 5)

        reload(WARM)
        before, counters = held(run), set(run.counters())
        reload(MORE)
        give_up = time.monotonic() + 10
        while (after := held(run)) != before and time.monotonic() < give_up:
            time.sleep(0.1)
        assert after == before
        assert len(run.counters()) == len(counters)
        run.drain()
