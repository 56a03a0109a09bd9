"""How soon a fresh worker has its first result, and how much memory that takes: native beside ONNX Runtime, MobileNetV2 uint8.

Time counts from where interpreter and NumPy are loaded; memory is the process's largest resident size, both included.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from devices import prepare
from devices.model import inspect

REPEATS = 15
MOST_MB = 70

WORKER = """
import json, sys
from pathlib import Path
from time import perf_counter, process_time
import numpy as np

told = json.loads(sys.argv[1])
name, spec = told["inputs"][0]
picture = np.random.default_rng(0).standard_normal(spec["shape"]).astype(np.float32)
begin, work = perf_counter(), process_time()
from devices import session
from devices.engine import ModelInfo
from devices.spec import TensorSpec

signature = [tuple((name, TensorSpec(spec["dtype"], tuple(spec["shape"]))) for name, spec in told[role]) for role in ("inputs", "outputs")]
model = ModelInfo(told["name"], "", Path(told["path"]), told["digest"], *signature, dims=tuple(map(tuple, told["dims"])))
loaded = session.load(model, sys.argv[2])
ready = perf_counter()
loaded.run({name: picture})
end, work = perf_counter(), process_time() - work
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps({"load_ms": (ready - begin) * 1e3, "first_ms": (end - begin) * 1e3, "cpu_ms": work * 1e3, "peak_mb": peak / 1024}))
"""


@pytest.mark.parametrize("file", ["mobilenetv2_12_qdq.onnx", "bench/mbv2_qop_u8s8pc.onnx"])
def test_first_result_and_memory(file: str, data: Path, tmp_path: Path, benchmark: Any) -> None:
    path = data / "models" / file
    model = inspect(path).as_model()
    prepare.ready([model])
    order = json.dumps(asdict(model) | {"path": str(model.path)})
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)  # as an installed package has its byte code

    def start(engine: str) -> dict[str, float]:
        command = [sys.executable, "-c", WORKER, order, engine]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
        told: dict[str, float] = json.loads(done.stdout)
        return told

    def turns() -> list[dict[str, dict[str, float]]]:
        return [{engine: start(engine) for engine in ("native", "onnxruntime")} for _ in range(REPEATS)]

    for engine in ("native", "onnxruntime"):  # byte code is written
        start(engine)
    seen = benchmark.pedantic(turns, rounds=1)
    print(f"\n{file}, first result after interpreter and NumPy, {REPEATS} fresh processes in turns")
    for engine in ("native", "onnxruntime"):
        load, first, cpu, peak = (
            statistics.median(turn[engine][key] for turn in seen) for key in ("load_ms", "first_ms", "cpu_ms", "peak_mb")
        )
        least = min(turn[engine]["first_ms"] for turn in seen)
        print(f"  {engine:12} {first:6.1f} ms (least {least:.1f}; load {load:.1f}, CPU time {cpu:.1f}) {peak:6.1f} MB")
    print(f"  ratio        {statistics.median(turn['native']['first_ms'] / turn['onnxruntime']['first_ms'] for turn in seen):6.2f}")
    assert max(turn["native"]["peak_mb"] for turn in seen) <= MOST_MB
