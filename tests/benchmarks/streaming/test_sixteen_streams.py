"""Sixteen live 720p streams through one shared 224x224 model, against a bare loop on two cores with the same operators."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.plan.codec import encode_plan
from flow.plan.value import Plan

from .compare import REPEATS, Bar, once, pick, show

pytestmark = [pytest.mark.usefixtures("parts"), pytest.mark.timeout(600)]

STREAMS = 16
CORES = 2
SECONDS = 5.0
BARE_SECONDS = 3.0
OFFERED = 1.5
"""Frames that the cameras offer, for each that the bare loops can do."""
LOOP = Path(__file__).parent / "peers" / "bare_inference.py"

RESULTS = Bar(0.9, least=True)
AGE = Bar(1)
SHARE = Bar(0.8, least=True)

MANIFESTS = """
apiVersion: ace/v1
kind: Model
name: mobilenet
version: 1.0.0
file: mobilenetv2_12_qdq.onnx
input: {format: rgb24, fit: stretch, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375]}
---
apiVersion: ace/v1
kind: Business
name: classify
version: 1.0.0
inputs: {camera: image}
models: {classifier: mobilenet@^1}
graph:
  classes: {op: classify.image, in: {image: camera}, model: classifier, config: {k: 1}}
outputs: {classes: classes}
---
apiVersion: ace/v1
kind: Device
name: sixteen
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Results a second of all streams; the oldest age of a result over the plan's bound; the smallest share of a stream of a fair one."""

    fps: float
    age: float
    share: float


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    name = "mobilenetv2_12_qdq.onnx"
    (tmp_path / name).write_bytes((data / "models" / name).read_bytes())
    return tmp_path


def plan_of(folder: Path, fps: float) -> Plan:
    names = [f"s{number}" for number in range(STREAMS)]
    streams = {name: {"source": f"looped:{name}?fps={fps:.1f}&seconds={SECONDS}", "overload": "latest"} for name in names}
    uses = [{"use": "classify@^1", "name": name, "bind": {"camera": name}} for name in names]
    path = folder / "sixteen.yaml"
    path.write_text(MANIFESTS + f"streams: {json.dumps(streams)}\nbusinesses: {json.dumps(uses)}\n")
    out = {f"{name}.classes": [f"ages:{folder / name}.json"] for name in names}
    return flow.make_plan(manifests.load(path), out=out, workers="processes", cores=CORES)


def engine(plan: Plan, folder: Path) -> Run:
    """Counts while all streams give results."""
    with flow.Executor(plan) as executor:
        assert executor.wait(SECONDS + 120)
    assert executor.failed is None, executor.failed
    rows = {stream.name: json.loads((folder / f"{stream.name}.json").read_text()) for stream in plan.streams}
    start = max(came[0][1] for came in rows.values())
    end = min(came[-1][1] for came in rows.values())
    kept = {name: [age for age, at in came if start <= at <= end] for name, came in rows.items()}
    total = sum(map(len, kept.values()))
    ages = [max(ages) / ((plan.frames_in_flight[f"{name}.classes"] + 1) * (end - start) * 1e3 / len(ages)) for name, ages in kept.items()]
    return Run(total / (end - start), max(ages), min(map(len, kept.values())) / (total / STREAMS))


class Bare:
    """A loop on each core, which works when it is told to."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        path = folder / "plan.json"
        path.write_bytes(encode_plan(plan))
        command = [sys.executable, str(LOOP), str(path), str(BARE_SECONDS)]
        self.loops = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(CORES)]
        for loop in self.loops:
            assert loop.stdout.readline() == "ready\n"

    def rate(self) -> float:
        """Frames a second of all loops together."""
        for loop in self.loops:
            loop.stdin.write("go\n")
            loop.stdin.flush()
        return sum(int(loop.stdout.readline()) for loop in self.loops) / BARE_SECONDS

    def close(self) -> None:
        for loop in self.loops:
            loop.communicate()


def test_sixteen_streams(benchmark: Any, folder: Path) -> None:
    """The bare loops run before and after each run of ours, whose cameras offer more than they did."""
    bare, runs = [], []

    def work() -> None:
        loops = Bare(plan_of(folder, 1.0), folder)
        bare.append(loops.rate())
        for _ in range(REPEATS):
            runs.append(engine(plan_of(folder, math.ceil(OFFERED * max(bare) / STREAMS)), folder))
            bare.append(loops.rate())
        loops.close()

    once(benchmark, work)
    print(f"\n{STREAMS} streams, results a second: ours {[round(run.fps) for run in runs]}, bare loops {[round(rate) for rate in bare]}")
    show(
        "results of the bare loops'", [run.fps / statistics.mean(around) for run, around in zip(runs, pairwise(bare), strict=True)], RESULTS
    )
    show("oldest result of the plan's bound", pick(runs, "age"), AGE)
    show("smallest stream of a fair share", pick(runs, "share"), SHARE)
