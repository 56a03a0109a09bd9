"""Reloads of a detector that two businesses share, while a camera of 25 frames a second feeds both.

Run with `pytest tests/benchmarks/test_reloads.py --benchmark-only -s`; ACE_RELOADS says how many (1000). Printed: frames lost and doubled,
the longest time between two results of one output around a switch, what a reload takes, and how memory grows with the reloads.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import flow
import manifests
from flow.plan.value import Plan

FPS = 25
PERIOD_MS = 1000 / FPS
EXAMPLES = Path(manifests.__file__).parent / "examples"
SETTLED = 0.2
"""Share of the reloads after which memory is looked at: caches are warm by then."""


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


def test_reloads(tmp_path: Path, benchmark: Any) -> None:
    reloads = int(os.environ.get("ACE_RELOADS", "1000"))
    plans = [version(tmp_path / str(number), number) for number in range(2)]
    found: dict[str, list[int]] = {}
    with flow.Executor(plans[0]) as run:

        def read() -> None:
            for result in run.results():
                found.setdefault(f"{result.business}.{result.output}", []).append(result.seq)

        reader = threading.Thread(target=read)
        reader.start()
        assert run.wait_running(120)
        time.sleep(2.0)
        gaps, took, memory, lost = [], [], [], 0
        for number in range(reloads):
            started = time.monotonic()
            run.stage(plans[(number + 1) % 2], timeout_s=120)
            proof = run.switch(timeout_s=120)
            took.append(time.monotonic() - started)
            gaps.append(proof.gap_ns / 1e6)
            lost += proof.lost
            memory.append(run.memory_bytes())
        run.drain()
        run.wait(60)
        reader.join()
        report = run.report()
    doubled = sum(len(seqs) - len(set(seqs)) for seqs in found.values())
    (stream,) = report["streams"].values()
    dropped = {cause: count for place in stream["dropped"].values() for cause, count in place.items()}
    sequences = list(found.values())
    missing = len(sequences[0]) and max(sequences[0][-1] + 1 - len(seqs) for seqs in sequences)
    tail = memory[int(reloads * SETTLED) :]
    slope, noise = float(np.polyfit(np.arange(len(tail)), tail, 1)[0]), float(np.std(tail))
    figures = {
        "reloads": reloads, "frames": len(sequences[0]), "lost": lost, "doubled": doubled, "without a result": missing, "dropped": dropped,
        "gap_ms": {str(share): round(float(np.percentile(gaps, share)), 1) for share in (50, 99, 100)},
        "periods_most": round(max(gaps) / PERIOD_MS, 2), "reload_ms": round(float(np.median(took)) * 1e3),
        "bytes_a_reload": round(slope), "noise_bytes": round(noise),
    }  # fmt: skip
    print(f"\n{figures}")
    benchmark.extra_info.update(figures)
    assert lost == doubled == 0
    assert all(seqs == sorted(seqs) for seqs in sequences)
    benchmark.pedantic(lambda: None, rounds=1)
