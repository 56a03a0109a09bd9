"""Engines that take turns in a process of their own. Run by `paired`; standard input and output are JSON.

In:  {"contestants": [{"label", "engine", "path", "threads", "dims"}], "rounds"}
Out: {"seconds": {label: [a number, …]}, "clean": {label: [whether nothing interrupted that run, …]}, "error": {label: [label of the first
      contestant with the same file, decibels of signal over difference from its outputs]}, "fma": multiply-adds a second of one core,
      "missing": [label, …]}
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

WARM = 15
"""Runs of each contestant before any is timed."""

MOST_S = 30.0
"""So long the turns may take, so that a slow contestant does not take all of an afternoon."""

Outputs = list[np.ndarray]
Run = Callable[[], Any]
MODULES = {"openvino": "openvino", "litert": "ai_edge_litert"}
"""Peers that are used where they are installed."""


def contestant(told: Mapping[str, Any]) -> tuple[Run, Callable[[], Outputs]]:
    """One inference, and what it gives. Every engine gets the same random input."""
    return {"native": native, "onnxruntime": onnxruntime, "exact": onnxruntime, "openvino": openvino, "litert": litert}[told["engine"]](
        told
    )


def feed(told: Mapping[str, Any]) -> dict[str, np.ndarray]:
    from devices.model import inspect

    random = np.random.default_rng(0)
    inputs = inspect(told["path"], dims=told.get("dims")).inputs
    return {name: np.array(random.standard_normal(spec.shape), spec.dtype) for name, spec in inputs}


def native(told: Mapping[str, Any]) -> tuple[Run, Callable[[], Outputs]]:
    import devices

    session = devices.load(told["path"], engine="native", threads=told["threads"], dims=told.get("dims"))
    given = feed(told)
    return lambda: session.run(given), lambda: [array.copy() for array in session.run(given).values()]


def onnxruntime(told: Mapping[str, Any]) -> tuple[Run, Callable[[], Outputs]]:
    """`exact`: 8-bit sums that do not saturate."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads, options.inter_op_num_threads = told["threads"], 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or its threads would take a core from who is next
    options.add_session_config_entry("session.x64quantprecision", "1" if told["engine"] == "exact" else "0")
    session = ort.InferenceSession(told["path"], options, providers=["CPUExecutionProvider"])
    given = feed(told)
    return lambda: session.run(None, given), lambda: session.run(None, given)


def openvino(told: Mapping[str, Any]) -> tuple[Run, Callable[[], Outputs]]:
    import openvino as ov

    how = {"INFERENCE_NUM_THREADS": told["threads"], "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(told["path"], "CPU", how).create_infer_request()
    given = list(feed(told).values())
    run = lambda: request.infer(given, share_inputs=True, share_outputs=True)  # noqa: E731
    return run, lambda: [np.array(array) for array in run().values()]


def litert(told: Mapping[str, Any]) -> tuple[Run, Callable[[], Outputs]]:
    """Pictures with their channels last, in the file's own numbers."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(told["path"], num_threads=told["threads"])
    interpreter.allocate_tensors()
    port, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    height, width = port["shape"][1:3]
    picture = np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32).transpose(0, 2, 3, 1)
    if port["dtype"] != np.float32:
        scale, zero = port["quantization"]
        limits = np.iinfo(port["dtype"])
        picture = np.clip(np.rint(picture / scale) + zero, limits.min, limits.max).astype(port["dtype"])

    def run() -> None:
        interpreter.set_tensor(port["index"], picture)
        interpreter.invoke()

    def outputs() -> Outputs:
        run()
        got = interpreter.get_tensor(out["index"])
        scale, zero = out["quantization"]
        return [(got.astype(np.float32) - zero) * scale if got.dtype != np.float32 else got.copy()]

    return run, outputs


def timed(run: Run) -> tuple[float, bool]:
    """Seconds, and whether the process went on all the time."""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, time.perf_counter()
    run()
    return time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw == before


def multiply_adds() -> float:
    """Multiply-adds of float32 a second that one core does, the best of some."""
    from devices.native.isa import best
    from devices.native.kernels import ensure, library

    ensure(best())
    loaded = library(best())
    lanes, rounds = loaded.isa.vector // 4, 20000
    x = np.ones(14 * lanes, np.float32)
    x[:lanes] = 1e-3
    words = loaded.kernels["peak_f32"].words(x=x)
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        loaded.run("peak_f32", words, 0, rounds)
        seconds.append(time.perf_counter() - begin)
    return rounds * 12 * lanes / min(seconds)


def decibels(real: Outputs, got: Outputs) -> float:
    """Signal over difference over all outputs; infinite where they are equal."""
    a, b = (np.concatenate([array.ravel().astype(np.float64) for array in each]) for each in (real, got))
    noise, signal = float(((a - b) ** 2).sum()), float((a**2).sum())
    return float(10 * np.log10(max(signal, 1e-30) / noise)) if noise else float("inf")


def main() -> None:
    told = json.load(sys.stdin)
    there = [each for each in told["contestants"] if importlib.util.find_spec(MODULES.get(each["engine"], "sys"))]
    made = {each["label"]: contestant(each) for each in there}
    given = {label: outputs() for label, (_, outputs) in made.items()}
    paths: dict[str, str] = {}
    firsts = {each["label"]: paths.setdefault(each["path"], each["label"]) for each in there}
    error = {label: [first, decibels(given[first], given[label])] for label, first in firsts.items() if first != label}
    runs = {label: run for label, (run, _) in made.items()}
    for run in [*runs.values()] * WARM:
        run()
    fma = multiply_adds()
    times: dict[str, list[tuple[float, bool]]] = {label: [] for label in runs}
    whole, end = 0, time.perf_counter() + MOST_S
    for _ in range(3 * told["rounds"]):
        for label, run in runs.items():
            times[label].append(timed(run))
        whole += all(every[-1][1] for every in times.values())
        if whole >= told["rounds"] or time.perf_counter() > end:
            break
    missing = [each["label"] for each in told["contestants"] if each["label"] not in made]
    seconds, clean = ({label: [each[part] for each in every] for label, every in times.items()} for part in range(2))
    found = {"seconds": seconds, "clean": clean, "error": error, "fma": max(fma, multiply_adds()), "missing": missing}
    print(f"\n{json.dumps(found)}")


if __name__ == "__main__":
    main()
