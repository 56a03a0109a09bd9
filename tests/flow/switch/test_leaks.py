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
WARM, MORE, FRAMES = 4, 8, 20


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
    ours = Counter(f"a {kind.__name__}" for kind in map(type, gc.get_objects()) if str(kind.__module__).startswith("flow."))
    del ours["a Result"]
    processes = {"executor": os.getpid(), "nursery": supervisor.nursery._process.pid}
    for worker in supervisor.workers.values():
        lane = supervisor.wiring.lanes[worker.seat.lane]
        assert worker.pid is not None
        processes[lane.name] = worker.pid
    found = {name: descriptors(pid) + mappings(pid) for name, pid in processes.items()}
    found["executor"] += ours
    return found


GRAPH = """
all: {{op: test.objects, in: {{image: camera}}}}
{rest}
"""


def test_reloads_leave_no_descriptor_no_memory_and_no_object_behind(write: Callable[..., Path]) -> None:
    """`all` runs on, in a worker of its own, and counts what is there; what it feeds is reloaded."""
    source = "stamps:frames=1000000&fps=100&live=1"
    bind = {"watch.camera": source, "add.camera": source}
    watch = write("watch", GRAPH.format(rest=""), {"objects": "all.points"})
    plans = []
    for wait in (0.0, 0.1):
        rest = SUM.format(wait=wait).replace("image: camera", "image: all.image")
        plans.append(live_plan(watch, write("add", GRAPH.format(rest=rest), {"sum": "sum"}), bind=bind, workers="processes"))
    with running(plans[0]) as (run, reader):

        def reload(times: int) -> float:
            """The least that a worker which ran on has had since."""
            for number in range(times):
                run.stage(plans[(number + 1) % 2], timeout_s=60)
                proof = run.switch(timeout_s=60)
                assert "watch.all" in proof.kept
            seen = reader.count("watch.objects")
            reader.wait_for("watch.objects", seen + FRAMES)
            reader.wait_for("add.sum", reader.count("add.sum") + 5)
            return min(float(one.points[0]["point"][0]) for one in reader.results["watch.objects"][seen:])

        objects = reload(WARM)
        before, counters = held(run), set(run.counters())
        later = reload(MORE)
        give_up = time.monotonic() + 10
        while (after := held(run)) != before and time.monotonic() < give_up:
            time.sleep(0.1)
        assert after == before
        assert later < objects + MORE / 2  # what is under way may differ by a few; what each reload leaves would be more
        assert len(run.counters()) == len(counters)
        run.drain()
