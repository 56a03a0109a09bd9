"""Sinks for measurements: what they are given is counted or kept, and written down when they are closed."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ace_bench_recorder import cpu_ns, processes

WARM_FRAMES = 500


class CountingSink:
    """`count:FILE`: the processor time a result, of all processes, from result `WARM_FRAMES` to the last."""

    targets = ("count:",)
    wants = "result"

    @classmethod
    def check(cls, target):
        pass

    def __init__(self, plan, fps):
        self.path = Path(plan.target.partition(":")[2])
        self.results = 0

    def open(self, *, resume):
        return {}

    def write(self, result, picture):
        self.results += 1
        if self.results == WARM_FRAMES:
            self.processes = processes()
            self.before = cpu_ns(self.processes)

    def close(self):
        used = cpu_ns(self.processes) - self.before
        self.path.write_text(json.dumps({"results": self.results, "cpu_us": used / 1e3 / (self.results - WARM_FRAMES)}))


class AgeSink:
    """`ages:FILE`: for each result its age in ms and when it came (`time.monotonic()`)."""

    targets = ("ages:",)
    wants = "result"

    @classmethod
    def check(cls, target):
        pass

    def __init__(self, plan, fps):
        self.path = Path(plan.target.partition(":")[2])
        self.rows = []

    def open(self, *, resume):
        return {}

    def write(self, result, picture):
        self.rows.append((result.latency_ms, time.monotonic()))

    def close(self):
        self.path.write_text(json.dumps(self.rows))
