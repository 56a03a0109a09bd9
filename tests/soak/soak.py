"""Streams for as long as it is told while workers are killed at random, and reports what became of every frame.

    python -m tests.soak --seconds 180 --kill-every 5

Ends with status 1 when a promise was broken: a result missing or doubled on a lossless stream, a poison frame, a counter that does not
add up, a slot or a process left behind.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPERATORS = Path(__file__).resolve().parents[1] / "flow" / "operators"
MANIFEST = """
apiVersion: ace/v1
kind: Business
name: file
version: 1.0.0
inputs: {camera: image}
graph:
  shade: {op: test.shade, in: {image: camera}}
  look: {op: test.look, in: {image: shade}, config: {wait_ms: 8}}
  sum: {op: test.sum, in: {points: look}}
  both: {op: test.mix, in: {first: look, second: sum}}
outputs: {both: both}
---
apiVersion: ace/v1
kind: Business
name: pair
version: 1.0.0
inputs: {one: image, two: image}
graph:
  first: {op: test.look, in: {image: one}}
  second: {op: test.look, in: {image: two}}
  met: {op: test.mix, in: {first: first, second: second}}
  sum: {op: test.sum, in: {points: met}}
outputs: {sum: sum}
---
apiVersion: ace/v1
kind: Business
name: live
version: 1.0.0
inputs: {camera: image}
graph:
  look: {op: test.look, in: {image: camera}, config: {wait_ms: 4}}
outputs: {look: look}
---
apiVersion: ace/v1
kind: Business
name: queue
version: 1.0.0
inputs: {camera: image}
graph:
  look: {op: test.look, in: {image: camera}, config: {wait_ms: 9}}
outputs: {look: look}
---
apiVersion: ace/v1
kind: Device
name: soak
streams:
  waiting: {source: "stamps:frames=100000000&fps=100&width=320&height=240&live=0"}
  other: {source: "stamps:frames=100000000&fps=50&width=64&height=48&live=0"}
  newest: {source: "stamps:frames=100000000&fps=200&width=320&height=240&live=1", overload: latest}
  queued: {source: "stamps:frames=100000000&fps=150&width=64&height=48&live=1", overload: drop_oldest}
businesses:
  - {use: file, bind: {camera: waiting}}
  - {use: pair, bind: {one: waiting, two: other}}
  - {use: live, bind: {camera: newest}}
  - {use: queue, bind: {camera: queued}}
"""


@dataclass
class Lossless:
    """What has come of an output that must have one result for each frame."""

    results: int = 0
    next_seq: int = 0
    missing: int = 0
    doubled: int = 0
    resets: int = 0

    def take(self, seq: int, *, reset: bool) -> None:
        self.results += 1
        self.resets += reset
        if seq < self.next_seq:
            self.doubled += 1
        else:
            self.missing += seq - self.next_seq
            self.next_seq = seq + 1


@dataclass
class Samples:
    """Memory of all processes and descriptors of the executor over time."""

    times: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def take(self, at: float, run: Any) -> None:
        import psutil

        me = psutil.Process()
        total = run._supervisor.memory.nbytes()
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().uss
        self.times.append(at)
        self.bytes.append(total)
        self.descriptors.append(len(list(Path("/proc/self/fd").iterdir())))


def slope(times: list[float], values: list[float]) -> tuple[float, float]:
    """Least-squares slope a second and its standard error; (0, 0) for fewer than three samples."""
    count = len(times)
    if count < 3:
        return 0.0, 0.0
    mean_t, mean_v = sum(times) / count, sum(values) / count
    spread = sum((time - mean_t) ** 2 for time in times)
    found = sum((time - mean_t) * (value - mean_v) for time, value in zip(times, values, strict=True)) / spread
    rest = sum((value - mean_v - found * (time - mean_t)) ** 2 for time, value in zip(times, values, strict=True))
    return found, (rest / (count - 2) / spread) ** 0.5


def install_operators() -> None:
    """Makes the test operators an installed distribution, here and in the processes that are started."""
    if str(OPERATORS) not in sys.path:
        sys.path.insert(0, str(OPERATORS))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OPERATORS), os.environ.get("PYTHONPATH")]))
    importlib.invalidate_caches()


class Killer(threading.Thread):
    """Kills one worker that is at work, now and then; every fourth time two at once."""

    def __init__(self, run: Any, every_s: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.run_, self.every_s, self.random = run, every_s, random.Random(seed)
        self.over = threading.Event()
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        supervisor = self.run_._supervisor
        while not self.over.wait(self.every_s * self.random.uniform(0.5, 1.5)):
            ready = [worker for worker in supervisor.workers.values() if worker.ready]
            if len(ready) == len(supervisor.workers):
                worker = self.random.choice(ready)
                self.killed[supervisor.wiring.lanes[worker.seat.lane].name] += 1
                worker.kill()


def soak(seconds: float, kill_every: float, *, seed: int = 0, cores: int = 2) -> dict[str, Any]:
    """Runs for so long; the report, with what was broken under `broken`."""
    import psutil

    import flow
    import manifests

    before = {process.pid for process in psutil.Process().children(recursive=True)}
    files = len(list(Path("/proc/self/fd").iterdir()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "soak.yaml"
        path.write_text(MANIFEST)
        plan = flow.make_plan(manifests.load(path), workers="processes", cores=cores)
    lossless = {"file.both": Lossless(), "pair.sum": Lossless()}
    live: Counter[str] = Counter()
    samples, events = Samples(), Counter[str]()
    gaps: list[float] = []
    with flow.Executor(plan, on_event=lambda event: events.update([event["event"]])) as run:
        run.wait_running()
        started = sampled = last = time.monotonic()
        killer = Killer(run, kill_every, seed)
        killer.start()
        draining = False
        for result in run.results():
            now = time.monotonic()
            name = f"{result.business}.{result.output}"
            if name in lossless:
                lossless[name].take(result.seq, reset=result.reset)
                gaps.append(now - last)
                last = now
            else:
                live[name] += 1
            if now - sampled >= max(0.5, seconds / 120) and not draining:
                sampled = now
                if now - started > seconds / 10 and all(worker.ready for worker in run._supervisor.workers.values()):  # type: ignore[union-attr]
                    samples.take(now - started, run)
            if now - started >= seconds and not draining:
                draining = True
                killer.over.set()
                killer.join()
                run.drain()
        paths = run._supervisor.directory.path  # type: ignore[union-attr]
    report = run.report()
    left = [process.pid for process in psutil.Process().children(recursive=True) if process.pid not in before]
    drift, noise = slope(samples.times, [float(one) for one in samples.bytes])
    fds, fd_noise = slope(samples.times, [float(one) for one in samples.descriptors])
    found: dict[str, Any] = {
        "seconds": round(report["wall_seconds"], 1),
        "cpu_seconds": report["cpu_seconds"],
        "kills": dict(killer.killed),
        "restarts": sum(worker["restarts"] for worker in report["workers"]),
        "longest_gap_ms": round(1000 * max(gaps, default=0.0), 1),
        "streams": {name: {key: one[key] for key in ("in", "out", "in_flight", "dropped")} for name, one in report["streams"].items()},
        "lossless": {name: vars(one) for name, one in lossless.items()},
        "live": dict(live),
        "poison": report["poison"],
        "events": dict(events),
        "memory": {
            "first_mb": round(samples.bytes[0] / 1e6, 1) if samples.bytes else None,
            "last_mb": round(samples.bytes[-1] / 1e6, 1) if samples.bytes else None,
            "slope_kb_a_minute": round(drift * 60 / 1e3, 1),
            "noise_kb_a_minute": round(noise * 60 / 1e3, 1),
            "samples": len(samples.bytes),
        },
        "descriptors": {
            "first": samples.descriptors[0] if samples.descriptors else None,
            "last": samples.descriptors[-1] if samples.descriptors else None,
            "slope_a_minute": round(fds * 60, 2),
            "noise_a_minute": round(fd_noise * 60, 2),
            "after_the_run": len(list(Path("/proc/self/fd").iterdir())) - files,
        },
        "left": {"processes": left, "slots": run.leaked_slots, "folders": [str(paths)] if paths.exists() else []},
    }
    found["broken"] = broken(found, report, run.failed)
    return found


def broken(found: dict[str, Any], report: dict[str, Any], failed: str | None) -> list[str]:
    """Promises that were not kept, in words."""
    said = [] if failed is None else [f"the run failed: {failed}"]
    for name, one in found["lossless"].items():
        said += [f"{name}: {one[what]} {what}" for what in ("missing", "doubled", "resets") if one[what]]
    frames = found["streams"]["waiting"]["out"]
    said += [
        f"{name}: {one['next_seq']} results of {frames} frames" for name, one in found["lossless"].items() if one["next_seq"] != frames
    ]
    if found["poison"]:
        said.append(f"poison: {found['poison']}")
    for name, stream in found["streams"].items():
        if stream["in_flight"] or stream["in"] != stream["out"] + sum(stream["dropped"].get(name, {}).values()):
            said.append(f"stream {name} does not add up: {stream}")
    for number, edge in report["edges"].items():
        for end in (edge, edge["received"]):
            if end["in_flight"] or end["in"] != end["out"] + sum(end["dropped"].values()):
                said.append(f"edge {number} does not add up: {end}")
    said += [f"{what} left behind: {rest}" for what, rest in found["left"].items() if rest]
    errors = {node["names"][0]: node["errors"] for node in report["nodes"].values() if node["errors"]}
    if errors:
        said.append(f"operators failed: {errors}: {report['problems'][:3]}")
    memory, descriptors = found["memory"], found["descriptors"]
    if memory["slope_kb_a_minute"] > 4 * memory["noise_kb_a_minute"] + 1000:
        said.append(f"memory grows: {memory}")
    if descriptors["slope_a_minute"] > 4 * descriptors["noise_a_minute"] + 0.5:
        said.append(f"descriptors grow: {descriptors}")
    return said


def main() -> int:
    """The command."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kill-every", type=float, default=5.0, help="seconds between kills, on average")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    install_operators()
    found = soak(asked.seconds, asked.kill_every, seed=asked.seed, cores=asked.cores)
    print(json.dumps(found, indent=2))
    return 1 if found["broken"] else 0
