"""What it costs those that run that a candidate is tried out beside them: latency and rate of their results, with and without, in turns.

Run with `pytest tests/benchmarks/test_shadows.py --benchmark-only -s`; ACE_ROUNDS says how often (10). The candidate is the detector that
two businesses share, in another version, on a tenth of the frames and within a quarter of a core.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flow
from flow.switch.shadow import ShadowRun
from tests.benchmarks.test_reloads import FPS, version

PHASE_S, SETTLE_S = 4.0, 1.0
SHARE, CPU = 0.1, 0.25

Results = list[tuple[float, float]]
"""When each result came, and its latency in ms."""


def figures(results: Results, phases: list[tuple[float, float]]) -> str:
    """Of the results that came in these phases."""
    taken = [[latency for at, latency in results if begin <= at < end] for begin, end in phases]
    latencies = np.concatenate(taken)
    rate = len(latencies) / sum(end - begin for begin, end in phases)
    p50, p99 = np.percentile(latencies, (50, 99))
    return f"{rate:.2f} results a second, latency p50 {p50:.2f} ms, p99 {p99:.2f} ms"


@pytest.mark.timeout(3600)
def test_what_runs_beside_a_candidate(tmp_path: Path, benchmark: Any) -> None:
    rounds = int(os.environ.get("ACE_ROUNDS", "10"))
    running, candidate = (version(tmp_path / str(number), number) for number in range(2))
    results: dict[str, Results] = {}
    alone, beside, used = [], [], []

    def phase() -> tuple[float, float]:
        time.sleep(SETTLE_S)
        begin = time.monotonic()
        time.sleep(PHASE_S)
        return begin, time.monotonic()

    with flow.Executor(running) as run:

        def read() -> None:
            for result in run.results():
                results.setdefault(f"{result.business}.{result.output}", []).append((time.monotonic(), result.latency_ms))

        reader = threading.Thread(target=read)
        reader.start()
        assert run.wait_running(120)
        for number in range(rounds):
            alone.append(phase())
            shadow = ShadowRun(run, candidate, number + 1, share=SHARE, cpu=CPU, seconds=600)
            beside.append(phase())
            shadow.end()
            found = shadow.figures()
            assert all(output.frames for output in found.outputs.values())
            used.append(found.cpu)
        run.drain()
        reader.join()
    told = {
        f"{name}, {what}": figures(found, phases)
        for name, found in results.items()
        for what, phases in (("alone", alone), ("beside a candidate", beside))
    }
    told |= {"candidate": f"{np.median(used):.3f} of a core (at most {CPU}), one frame in {round(1 / SHARE)} of {FPS} a second"}
    print("\n" + "\n".join(f"{name}: {value}" for name, value in told.items()))
    benchmark.extra_info.update(told)
    benchmark.pedantic(lambda: None, rounds=1)
