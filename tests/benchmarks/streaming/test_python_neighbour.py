"""One hop beside another business that computes in Python all the time: in threads of one process, and in processes."""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.plan.value import Plan

from .compare import Bar, against, interleaved, once, pick, show, show_figures
from .hop import Figures

pytestmark = [pytest.mark.usefixtures("parts"), pytest.mark.timeout(600)]

SOURCE = "bench:?width=640&height=480&rate={rate}&seconds={seconds}&write=0"
SECONDS = 2.0
SPIN_MS = 8.0
PROCESSES = Bar(1.5)
"""Of the p50 without a neighbour: two cores, one of them taken."""
SHORTER, ANY = Bar(1.0), Bar(math.inf)


def plan_of(folder: Path, workers: Any, *, neighbour: bool) -> Plan:
    documents: list[dict[str, Any]] = [
        {
            "kind": "Business", "name": "hop", "version": "1.0.0", "inputs": {"camera": "image"}, "outputs": {"seen": "seen"},
            "graph": {"seen": {"op": "bench.record", "in": {"image": "camera"}, "config": {"out": str(folder / "hop.json")}}},
        },
        {
            "kind": "Business", "name": "python", "version": "1.0.0", "inputs": {"camera": "image"}, "outputs": {"spun": "spun"},
            "graph": {"spun": {"op": "bench.spin", "in": {"image": "camera"}, "config": {"ms": SPIN_MS}}},
        },
        {
            "kind": "Device", "name": "room",
            "streams": {
                "front": {"source": SOURCE.format(rate=150, seconds=SECONDS)}, "back": {"source": SOURCE.format(rate=100, seconds=SECONDS)},
            },
            "businesses": [
                {"use": "hop", "bind": {"camera": "front"}}, {"use": "python", "bind": {"camera": "back"}, "enabled": neighbour},
            ],
        },
    ]  # fmt: skip
    path = folder / "room.yaml"
    path.write_text("\n---\n".join(json.dumps({"apiVersion": "ace/v1", **one}) for one in documents))
    return flow.make_plan(manifests.load(path), workers=workers, cores=2)


def run(folder: Path, workers: Any, neighbour: bool, interval_s: float | None = None) -> Figures:
    with pytest.MonkeyPatch.context() as patch:
        if interval_s is not None:
            patch.setattr("flow.worker.turns.SWITCH_S", interval_s)
        with flow.Executor(plan_of(folder, workers, neighbour=neighbour)) as executor:
            assert executor.wait(SECONDS + 60)
    assert executor.failed is None, executor.failed
    return Figures.read(folder / "hop.json")


def test_one_hop_beside_python(benchmark: Any, tmp_path: Path) -> None:
    """In threads also with the interpreter's own interval, for comparison."""
    own = sys.getswitchinterval()
    sides = {
        "processes": partial(run, tmp_path, "processes", False), "beside": partial(run, tmp_path, "processes", True),
        "threads": partial(run, tmp_path, "threads", False), "t. beside": partial(run, tmp_path, "threads", True),
        "own 5 ms": partial(run, tmp_path, "threads", True, own),
    }  # fmt: skip
    found = once(benchmark, lambda: interleaved(sides))
    show_figures("VGA, 1 hop, w=0, 150 Hz; `beside`: a neighbour computes 8 ms in Python, 100 times a second", found)
    for figure in ("p50_us", "p99_us"):
        name, bar = figure.removesuffix("_us"), PROCESSES if figure == "p50_us" else ANY
        alone, beside, threads, short, own_turns = (pick(found[side], figure) for side in sides)
        show(f"{name} beside Python, processes, of {name} alone", against(beside, alone), bar)
        show(f"{name} beside Python, threads, of {name} alone", against(short, threads), ANY)
        show(
            f"{name} beside Python, threads, of that with turns of 5 ms", against(short, own_turns), ANY if figure == "p50_us" else SHORTER
        )
