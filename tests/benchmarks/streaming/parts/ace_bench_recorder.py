"""The consumer's side of every measurement, ours and the peers': latency, rate, and the processor time of all processes."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import psutil
from ace_bench_camera import HEADER

WARM_NS = 500_000_000
WARM_FRAMES = 12
"""More than any side has slots, so that all memory has been touched once."""
ROOT = "ACE_BENCH_ROOT"
"""Environment: id of the process that started everything that is measured."""


def touch(pixels: np.ndarray) -> None:
    """Reads three bytes: the first, one in the middle, the last."""
    pixels.item(0)
    pixels.item(pixels.size // 2)
    pixels.item(pixels.size - 1)


def processes() -> list[int]:
    """The process that started everything, and all that descend from it."""
    root = psutil.Process(int(os.environ[ROOT]))
    return [root.pid, *(child.pid for child in root.children(recursive=True))]


def cpu_ns(pids: list[int]) -> int:
    """Processor time that these processes have used (their CPU-time clocks, clock_getcpuclockid(3))."""
    return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in pids)


class Recorder:
    """Sees every frame that arrives; writes its figures as JSON to `path` at the last. What comes before `WARM_NS` and
    `WARM_FRAMES` have passed is left out; frames that are missing are counted after that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latencies: list[int] = []
        self.warm = self.number = 0
        self._first = self._started = self._cpu = self._before = 0
        self._processes: list[int] = []
        self.saved = False

    def see(self, pixels: np.ndarray) -> None:
        """A frame as an array of bytes, of any shape."""
        touch(pixels)
        now = time.monotonic_ns()
        stamp, self.number, last = HEADER.unpack_from(pixels)
        if self._started:
            self.latencies.append(now - stamp)
            if last:
                self.save()
        elif not self._first:
            self._first = now
            self._processes = processes()
        elif now - self._first < WARM_NS or self.warm < WARM_FRAMES:
            self.warm += 1
        else:
            self._before = self.number
            self._cpu = cpu_ns(self._processes)
            self._started = time.monotonic_ns()

    def save(self) -> None:
        """Writes the figures, once."""
        if self.saved or not self._started:
            return
        seconds, cpu = (time.monotonic_ns() - self._started) / 1e9, cpu_ns(self._processes) - self._cpu
        frames, micro = len(self.latencies), [latency / 1e3 for latency in self.latencies]
        figures = {
            "p50_us": statistics.median(micro),
            "p99_us": statistics.quantiles(micro, n=100)[98],
            "fps": frames / seconds,
            "cpu_us": cpu / 1e3 / frames,
            "missing": self.number - self._before - frames,
        }
        self.saved = True
        self.path.write_text(json.dumps(figures))
