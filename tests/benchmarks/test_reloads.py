"""Reloads of a detector that two businesses share, while a camera of 25 frames a second feeds both.

Run with `ACE_RELOADS=1000 pytest tests/benchmarks/test_reloads.py --benchmark-only -s`. Between the reloads the same run is left alone for
a while; the times between results in both are printed side by side, with what was lost and doubled, and how memory and descriptors grow.
"""

from __future__ import annotations

import gc
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

FPS, CORES = 25, len(os.sched_getaffinity(0))
PERIOD_S = 1 / FPS
EXAMPLES = Path(manifests.__file__).parent / "examples"
SETTLED = 0.2
"""Share of the reloads after which memory is looked at: caches are warm by then."""
A_ROUND, LEFT_ALONE_S = 10, 2.0
"""Reloads one after another, then so long without any."""
DRAWN_S = 12.0
"""After so long the synthetic camera has drawn whatever it shows; drawing something for the first time takes it a frame period or two."""
LONGEST_S = 10
"""More than a reload takes, the time without any included: so many results are noted."""
WITHHELD_S = 0.02
"""So much that the host takes from both cores together around a gap lies in ours; what takes longer is said apart."""


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
    """Frame numbers and times of the results of one output, as the caller gets them. Its memory is there from the beginning."""

    def __init__(self, most: int) -> None:
        self.all_seqs, self.all_times, self.count = np.full(most, -1, np.int64), np.full(most, -1.0), 0

    def note(self, seq: int) -> None:
        self.all_seqs[self.count], self.all_times[self.count] = seq, time.monotonic()
        self.count += 1

    @property
    def seqs(self) -> list[int]:
        found: list[int] = self.all_seqs[: self.count].tolist()
        return found

    def gaps(self, spans: np.ndarray) -> np.ndarray:
        """Times (begin, end) of two results one after the other, of those that lie in one of the spans at least partly."""
        times = self.all_times[: self.count]
        begins, ends = times[:-1], times[1:]
        inside = np.zeros(len(begins), bool)
        for begin, end in spans:
            inside |= (begins < end) & (ends > begin)
        return np.stack((begins, ends), axis=1)[inside]


class Host:
    """How much processor time the host has given to other machines, over time: a frame is late while nobody runs here. Its memory is there
    from the beginning.
    """

    def __init__(self, longest_s: float) -> None:
        self._seen, self.count = np.full((int(longest_s / WITHHELD_S), 2), -1.0), 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        with Path("/proc/stat").open() as file:
            while not self._ended.wait(WITHHELD_S) and self.count < len(self._seen):
                file.seek(0)
                self._seen[self.count] = time.monotonic(), int(file.readline().split()[8]) / tick
                self.count += 1

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def free(self, spans: np.ndarray) -> np.ndarray:
        """Whether the host took next to nothing between each two times."""
        times, stolen = self._seen[: self.count].T
        begin, end = (np.interp(spans[:, side] + late, times, stolen) for side, late in ((0, -WITHHELD_S), (1, WITHHELD_S)))
        return np.asarray(end - begin <= WITHHELD_S)

    def share(self) -> float:
        """Of all processor time."""
        (begin, before), (end, after) = self._seen[0], self._seen[self.count - 1]
        return float((after - before) / (end - begin) / CORES)


class Usage:
    """Private memory and open files of the caller, the process that workers are forked from, and the workers."""

    def __init__(self, run: flow.Executor) -> None:
        self.run, self.files = run, array("q")
        self.memory: dict[str, array[float]] = {}

    def look(self) -> None:
        gc.collect()  # what nobody holds is not what grows
        supervisor = self.run._running_supervisor()
        assert supervisor.nursery is not None
        assert supervisor.nursery._process is not None
        found: Counter[str] = Counter(shared=supervisor.shared_bytes())
        folders = {Path("/proc/self"): "caller", Path(f"/proc/{supervisor.nursery._process.pid}"): "nursery"}
        folders |= {Path(f"/proc/{worker.pid}"): supervisor.wiring.lanes[seat.lane].name for seat, worker in supervisor.workers.items()}
        for folder, name in folders.items():
            found[name] += private_bytes(folder)
        for name, size in found.items():
            self.memory.setdefault(name, array("d")).append(size)
        self.files.append(sum(len(list((folder / "fd").iterdir())) for folder in folders))

    def figures(self) -> dict[str, Any]:
        """How memory grows with each reload, the standard error of that, and open files at the beginning and the end."""
        total = np.sum(list(self.memory.values()), axis=0)
        late = int(len(total) * SETTLED)
        return {
            "bytes a reload": slope(total[late:]),
            "bytes a reload, later half": slope(total[len(total) // 2 :]),
            "bytes a reload, by process": {name: slope(np.asarray(sizes)[late:]) for name, sizes in self.memory.items()},
            "memory MB, first and last": (round(float(total[late]) / 1e6, 1), round(float(total[-1]) / 1e6, 1)),
            "open files, first and last": (self.files[0], self.files[-1]),
        }  # fmt: skip


def slope(sizes: np.ndarray) -> str:
    """Growth with each reload and its standard error."""
    if len(sizes) <= 3:
        return "too few to say"
    (rise, _), covariance = np.polyfit(np.arange(len(sizes)) * A_ROUND, sizes, 1, cov=True)
    return f"{rise:.0f} ± {np.sqrt(covariance[0, 0]):.0f}"


def private_bytes(process: Path) -> int:
    """What a process alone has written. Clean pages of files come and go with whoever else on this machine has the same libraries open,
    and shared memory is counted where it is allocated.
    """
    total, own = 0, True
    for line in (process / "smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            own = "/memfd:" not in rest
        elif name == "Private_Dirty:" and own:
            total += 1024 * int(rest.split()[0])
    return total


def shares(periods: np.ndarray) -> str:
    """Median, 99th percentile, maximum, and how many are over two."""
    p50, p99, most = np.percentile(periods, (50, 99, 100)) if len(periods) else (np.nan,) * 3
    return f"p50 {p50:.2f}, p99 {p99:.2f}, max {most:.2f} ({len(periods)} gaps, {np.count_nonzero(periods > 2)} over 2)"


def between(gaps: np.ndarray, free: np.ndarray) -> str:
    """Of all, and of those while the host let this machine run."""
    return f"{shares(gaps)}; while the host took at most {1e3 * WITHHELD_S:.0f} ms: {shares(gaps[free])}"


@pytest.mark.timeout(7200)
def test_reloads(tmp_path: Path, benchmark: Any) -> None:
    reloads = int(os.environ.get("ACE_RELOADS", "50"))
    plans = [version(tmp_path / str(number), number) for number in range(2)]
    most = FPS * LONGEST_S * (reloads + 10)
    found = {f"{sink.business}.{sink.output}": Output(most) for sink in plans[0].sinks}
    begun, host = time.monotonic(), Host(LONGEST_S * (reloads + 10))
    with flow.Executor(plans[0]) as run:

        def read() -> None:
            for result in run.results():
                found[f"{result.business}.{result.output}"].note(result.seq)

        reader = threading.Thread(target=read)
        reader.start()
        assert run.wait_running(120)
        time.sleep(DRAWN_S)
        usage = Usage(run)
        loading, left_alone, cuts = np.zeros((reloads, 2)), [], np.zeros((reloads, 3))
        for number in range(reloads):
            if number % A_ROUND == 0:
                usage.look()
                time.sleep(PERIOD_S)  # for what was held up by it
                begin = time.monotonic()
                time.sleep(LEFT_ALONE_S)
                left_alone.append((begin, time.monotonic()))
            begin = time.monotonic()
            run.stage(plans[(number + 1) % 2], timeout_s=120)
            switched = time.monotonic()
            proof = run.switch(timeout_s=120)
            loading[number] = begin, time.monotonic()
            cuts[number] = switched, time.monotonic(), proof.gap_ns / 1e9
        usage.look()
        run.drain()
        host.end()
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

    def told(spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gaps = np.concatenate([output.gaps(spans) for output in found.values()])
        return (gaps[:, 1] - gaps[:, 0]) / PERIOD_S, host.free(gaps)

    figures = {
        "reloads": reloads, "frames": stream["in"], "lost": dropped["switch"] + max(wanted - len(set(each)) for each in seqs),
        "doubled": sum(len(each) - len(set(each)) for each in seqs), "dropped, and why": dict(dropped),
        "periods between results, reloading": between(*told(loading)),
        "periods between results, left alone": between(*told(np.array(left_alone))),
        "periods between rows at the cut": between(cuts[:, 2] / PERIOD_S, host.free(cuts)),
        "ms a reload": round(1e3 * float(np.median(loading[:, 1] - loading[:, 0]))),
        "processor time that the host gave to others": f"{host.share():.1%}",
        **usage.figures(), "seconds in all": round(time.monotonic() - begun),
    }  # fmt: skip
    print("\n" + "\n".join(f"{name}: {value}" for name, value in figures.items()))
    benchmark.extra_info.update({name: str(value) for name, value in figures.items()})
    assert figures["lost"] == figures["doubled"] == 0
    assert all(each == sorted(each) for each in seqs)
    benchmark.pedantic(lambda: None, rounds=1)
