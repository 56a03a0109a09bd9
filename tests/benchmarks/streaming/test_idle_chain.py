"""A chain of five operators that do nothing, in one worker: what the engine adds to a loop that calls their five `run`s."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flow
import manifests
from devices.spec import ImageSpec
from flow.plan.value import Plan
from ops import catalog
from ops.testing import frame
from ops.value import Image

from .compare import Bar, interleaved, once, show

pytestmark = [pytest.mark.usefixtures("parts"), pytest.mark.timeout(300)]

OPERATORS = ("bench.first", *["bench.idle"] * 4)
SOURCE = "bench:?width=64&height=48&rate=0&seconds=3&write=0"
LOOPS = 20_000
ADDED_US = Bar(15)


def plan_of(out: Path) -> Plan:
    business = manifests.build("idle", version="1.0.0")
    points = business.node("first", "bench.first", image=business.input("camera"))
    for number in range(1, len(OPERATORS)):
        points = business.node(f"idle{number}", "bench.idle", points=points)
    business.output("points", points)
    deployment = manifests.load(business.business(), bind={"camera": SOURCE})
    plan = flow.make_plan(deployment, out={"points": [f"count:{out}"]}, workers="processes", cores=1)
    assert len(plan.lanes) == 1
    return plan


def engine_us(folder: Path) -> float:
    """Processor time a frame, of the executor and its worker: source stamp, ledger, chain, hand-over to the sink."""
    out = folder / "counted.json"
    with flow.Executor(plan_of(out)) as executor:
        assert executor.wait(60)
    assert executor.failed is None, executor.failed
    return float(json.loads(out.read_text())["cpu_us"])


def loop_us() -> float:
    """Processor time of a loop that calls the operators' `run`s."""
    first, *idle = [catalog.find(name)() for name in OPERATORS]
    spec = ImageSpec(64, 48, "bgr24")
    image = Image(spec, spec.split(np.zeros(spec.nbytes, np.uint8)))
    at = frame(0)
    before = time.process_time_ns()
    for _ in range(LOOPS):
        points = first.run(at, image=image)
        for operator in idle:
            points = operator.run(at, points=points)
    return (time.process_time_ns() - before) / 1e3 / LOOPS


def test_what_the_engine_adds(benchmark: Any, tmp_path: Path) -> None:
    found = once(benchmark, lambda: interleaved({"engine": lambda: engine_us(tmp_path), "loop": loop_us}))
    print()
    show(
        "engine minus loop, CPU a frame",
        [engine - loop for engine, loop in zip(found["engine"], found["loop"], strict=True)],
        ADDED_US,
        " us",
    )
