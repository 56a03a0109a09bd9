"""The process that `bench_model` starts for one engine: reads questions, and writes answers, as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from devices import registry, session
from devices.engine import EngineError, ModelInfo, Session
from devices.spec import TensorSpec


def main() -> None:
    """Serves until standard input ends. What engines print goes to standard error, so that only answers are on standard output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    loaded: Session | None = None
    inputs: dict[str, np.ndarray] = {}
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question == "peak":
                answer: dict[str, Any] = {"peak_bytes": _peak_bytes()}
            elif isinstance(question, int):
                assert loaded is not None
                answer = {"run_ns": [_time(loaded, inputs) for _ in range(question)]}
            else:
                model = _model(question["model"])
                engine = session.choose(model.path, question["engine"])
                inputs = _inputs(model, engine.device)
                start = perf_counter_ns()
                loaded = session.load(model, engine.name, question["threads"], question["precision"])
                answer = {"load_ns": perf_counter_ns() - start, "first_ns": _time(loaded, inputs)}
        except EngineError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers)


def _time(loaded: Session, inputs: dict[str, np.ndarray]) -> int:
    start = perf_counter_ns()
    loaded.run(inputs)
    return perf_counter_ns() - start


def _model(fields: dict[str, Any]) -> ModelInfo:
    inputs, outputs = (
        tuple((name, TensorSpec(spec["dtype"], tuple(spec["shape"]))) for name, spec in fields[role]) for role in ("inputs", "outputs")
    )
    dims = tuple((name, size) for name, size in fields["dims"])
    return ModelInfo(fields["name"], "", Path(fields["path"]), fields["digest"], inputs, outputs, dims=dims)


def _inputs(model: ModelInfo, device: str) -> dict[str, np.ndarray]:
    """Normal noise, bytes of any value, and zeros where integers may be indices; in the memory domain of the device."""
    random = np.random.default_rng(0)
    place = registry.device(device)
    inputs = {}
    for name, spec in model.inputs:
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            array = random.standard_normal(spec.shape).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize == 1:
            array = random.integers(0, 128, spec.shape).astype(dtype)
        else:
            array = np.zeros(spec.shape, dtype)
        inputs[name] = np.empty_like(array)
        place.upload(array, inputs[name])
    return inputs


def _peak_bytes() -> int:
    """Largest resident memory of this program. getrusage would count what the parent used before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise EngineError("bench: expected VmHWM in /proc/self/status, got none; memory is measured on Linux only")


if __name__ == "__main__":
    main()
