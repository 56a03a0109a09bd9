"""Reloads of a detector that two businesses share, while a camera of 25 frames a second feeds both.

Run with `ACE_RELOADS=1000 pytest tests/benchmarks/test_reloads.py --benchmark-only -s`. Between the reloads the same run is left alone for
a while; the times between results in both are printed side by side, with what was lost and doubled, and how memory and descriptors grow.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flow
import manifests
from flow.plan.value import Plan

FPS = 25
PERIOD_S = 1 / FPS
EXAMPLES = Path(manifests.__file__).parent / "examples"
SETTLED = 0.2
"""Share of the reloads after which memory is looked at: caches are warm by then."""
A_ROUND, LEFT_ALONE_S = 10, 2.0
"""Reloads one after another, then so long without any."""


def version(folder: Path, number: int) -> Plan:
    """The two example businesses with a detector of their own bytes."""
    import onnx

    shutil.copytree(EXAMPLES, folder)
    path = folder / "models" / "scenes.onnx"
    model = onnx.load(path)
    model.doc_string = f"version {number}"
    onnx.save(model, path)
    camera = f"synthetic:home?fps={FPS}&frames=10000000&size=320x240"
    paths = [folder / f"{name}.yaml" for name in ("pet", "gesture", "scenes")]
    deployment = manifests.load(*paths, bind={"pet.camera": camera, "gesture.camera": camera})
    return flow.make_plan(deployment, cores=2, live=True)


class Output:
    """Frame numbers and times of the results of one output, as the caller gets them."""

    def __init__(self) -> None:
        self.seqs, self.times = array("q"), array("d")

    def gaps(self, spans: list[tuple[float, float]]) -> np.ndarray:
        """Times between two results, in frame periods, of those that lie in one of the spans at least partly."""
        times = np.frombuffer(self.times)
        begins, ends = times[:-1], times[1:]
        inside = np.zeros(len(begins), bool)
        for begin, end in spans:
            inside |= (begins < end) & (ends > begin)
        return np.asarray((ends - begins)[inside] / PERIOD_S)


class Usage:
    """Private memory and open files of the caller, the process that workers are forked from, and the workers."""

    def __init__(self, run: flow.Executor) -> None:
        self.run, self.memory, self.files = run, array("d"), array("q")

    def look(self) -> None:
        supervisor = self.run._running_supervisor()
        assert supervisor.nursery is not None
        assert supervisor.nursery._process is not None
        pids = [os.getpid(), supervisor.nursery._process.pid, *(worker.pid for worker in supervisor.workers.values())]
        folders = [Path(f"/proc/{pid}") for pid in pids]
        self.memory.append(sum(map(private_bytes, folders)) + supervisor.shared_bytes())
        self.files.append(sum(len(list((folder / "fd").iterdir())) for folder in folders))

    def figures(self) -> dict[str, Any]:
        """How memory grows with each reload, the standard error of that, and open files at the beginning and the end."""
        tail = np.asarray(self.memory[int(len(self.memory) * SETTLED) :])
        reloads = np.arange(len(tail)) * A_ROUND
        slope, error = float("nan"), float("nan")
        if len(tail) > 2:
            (slope, _), covariance = np.polyfit(reloads, tail, 1, cov=True)
            error = float(np.sqrt(covariance[0, 0]))
        return {
            "bytes a reload": f"{slope:.0f} ± {error:.0f}",
            "memory MB, first and last": (round(float(tail[0]) / 1e6, 1), round(float(tail[-1]) / 1e6, 1)),
            "open files, first and last": (self.files[0], self.files[-1]),
        }  # fmt: skip


def private_bytes(process: Path) -> int:
    """What a process has to itself."""
    lines = (process / "smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def shares(periods: np.ndarray) -> str:
    """Median, 99th percentile and maximum."""
    p50, p99, most = np.percentile(periods, (50, 99, 100)) if len(periods) else (np.nan,) * 3
    return f"p50 {p50:.2f}, p99 {p99:.2f}, max {most:.2f} ({len(periods)} gaps)"


@pytest.mark.timeout(7200)
def test_reloads(tmp_path: Path, benchmark: Any) -> None:
    reloads = int(os.environ.get("ACE_RELOADS", "50"))
    plans = [version(tmp_path / str(number), number) for number in range(2)]
    found: dict[str, Output] = {}
    begun = time.monotonic()
    with flow.Executor(plans[0]) as run:

        def read() -> None:
            for result in run.results():
                output = found.setdefault(f"{result.business}.{result.output}", Output())
                output.seqs.append(result.seq)
                output.times.append(time.monotonic())

        reader = threading.Thread(target=read)
        reader.start()
        assert run.wait_running(120)
        usage = Usage(run)
        loading, left_alone, cuts = [], [], []
        for number in range(reloads):
            if number % A_ROUND == 0:
                usage.look()
                begin = time.monotonic()
                time.sleep(LEFT_ALONE_S)
                left_alone.append((begin, time.monotonic()))
            begin = time.monotonic()
            run.stage(plans[(number + 1) % 2], timeout_s=120)
            proof = run.switch(timeout_s=120)
            loading.append((begin, time.monotonic()))
            cuts.append(proof.gap_ns / 1e9 / PERIOD_S)
        usage.look()
        run.drain()
        reader.join()  # before anybody waits for the run, which lets results go
        report = run.report()
    (stream,) = report["streams"].values()
    dropped: Counter[str] = Counter()
    for key, value in run.counters().items():
        place, _, cause = key.partition(".dropped:")
        if cause and value and place.startswith(("stream:", "edge:")):
            dropped[cause] += value
    seqs = [output.seqs for output in found.values()]
    wanted = stream["in"] - sum(dropped.values())
    figures = {
        "reloads": reloads, "frames": stream["in"], "lost": dropped["switch"] + max(wanted - len(set(each)) for each in seqs),
        "doubled": sum(len(each) - len(set(each)) for each in seqs), "dropped, and why": dict(dropped),
        "periods between results, reloading": shares(np.concatenate([output.gaps(loading) for output in found.values()])),
        "periods between results, left alone": shares(np.concatenate([output.gaps(left_alone) for output in found.values()])),
        "periods between rows at the cut": shares(np.array(cuts)),
        "ms a reload": round(1e3 * float(np.median([end - begin for begin, end in loading]))),
        **usage.figures(), "seconds in all": round(time.monotonic() - begun),
    }  # fmt: skip
    print("\n" + "\n".join(f"{name}: {value}" for name, value in figures.items()))
    benchmark.extra_info.update({name: str(value) for name, value in figures.items()})
    assert figures["lost"] == figures["doubled"] == 0
    assert all(list(each) == sorted(each) for each in seqs)
    benchmark.pedantic(lambda: None, rounds=1)
