"""SIGKILL of a worker in the middle of a lossless stream of 100 frames a second: how long nothing comes, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flow
import manifests
from flow.plan.value import Plan

from .compare import Bar, interleaved, once, show

pytestmark = [pytest.mark.usefixtures("parts"), pytest.mark.timeout(300)]

SOURCE = "bench:?width=640&height=480&rate=100&seconds=3&write=0"
KILL_AFTER = 100
FIRST_RESULT_MS = Bar(150)

MODEL = """
apiVersion: ace/v1
kind: Model
name: small
version: 1.0.0
file: small.onnx
input: {format: rgb24, fit: stretch, std: [255, 255, 255]}
"""
BUSINESS = """
---
apiVersion: ace/v1
kind: Business
name: killed
version: 1.0.0
inputs: {camera: image}
models: {small: small@^1}
graph:
  pixels:
    op: image.resize
    in: {image: camera}
    config: {width: 224, height: 224, tensor: {name: pixels, format: rgb24, std: [255, 255, 255]}}
  scores: {op: bench.infer, in: {tensors: pixels.tensors}, model: small, config: {log: %s}}
  top: {op: classify.topk, in: {tensors: scores}, model: small, config: {k: 1}}
outputs: {top: top}
"""


@pytest.fixture
def plan(save_model: Callable[..., Path], tmp_path: Path) -> Plan:
    """Source, inference (a session in each replica) and the end of the business, each in workers of their own."""
    from onnx import helper

    save_model(
        [
            helper.make_node("Conv", ["pixels", "weights"], ["seen"], strides=[4, 4]),
            helper.make_node("GlobalAveragePool", ["seen"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["scores"]),
        ],
        [("pixels", "float32", (1, 3, 224, 224))], [("scores", "float32", (1, 8))],
        {"weights": np.ones((8, 3, 3, 3), np.float32)}, name="small.onnx",
    )  # fmt: skip
    path = tmp_path / "killed.yaml"
    path.write_text(MODEL + BUSINESS % (tmp_path / "loads"))
    return flow.make_plan(manifests.load(path, bind={"camera": SOURCE}), workers="processes", cores=2)


@dataclass(frozen=True, slots=True)
class Gap:
    """From the kill of a worker to the first result of a frame captured after it; what its successor took of that to load a session."""

    gap_ms: float
    load_ms: float


def measure(plan: Plan, lane: str, loads: Path) -> Gap:
    """A run in which the first worker of this lane is killed."""
    loads.unlink(missing_ok=True)
    number = next(each.id for each in plan.lanes if each.name.startswith(lane))
    killed = gap = 0.0
    seqs = []
    with flow.Executor(plan) as executor:
        for result in executor.results("top"):
            now = time.monotonic()
            seqs.append(result.seq)
            if len(seqs) == KILL_AFTER:
                worker = next(each for each in executor.snapshot()["workers"] if each["lane"] == number)
                killed = time.monotonic()
                os.kill(worker["pid"], signal.SIGKILL)
            elif killed and not gap and now - result.latency_ms / 1e3 >= killed:
                gap = now - killed
    assert gap, "a frame captured after the kill has a result"
    stream = executor.report()["streams"]["camera"]
    assert seqs == list(range(stream["in"])), "every frame has exactly one result"
    assert executor.failed is None, executor.failed
    return Gap(gap * 1e3, float(loads.read_text().split()[-1]) if lane == "infer" else 0.0)


def test_first_result_after_a_kill(benchmark: Any, plan: Plan, tmp_path: Path) -> None:
    lanes = {"infer": "a worker that infers", "killed": "the worker of the sink"}
    found = once(benchmark, lambda: interleaved({lane: partial(measure, plan, lane, tmp_path / "loads") for lane in lanes}))
    print()
    for lane, title in lanes.items():
        print(f"{title}: loading its session took {', '.join(f'{one.load_ms:.0f}' for one in found[lane])} ms")
        show("kill to the first new result, less loading", [one.gap_ms - one.load_ms for one in found[lane]], FIRST_RESULT_MS, " ms")
