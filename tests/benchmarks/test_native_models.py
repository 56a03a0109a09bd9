"""The real models on the native engine beside ONNX Runtime, one thread each, taking turns.

Run with `pytest tests/benchmarks/test_native_models.py --benchmark-only`; ACE_TEST_DATA names the folder of models. Printed for each:
times, the ratio (below 1: native is faster; median of paired runs), steps that no kernel does, the slowest steps. The peer is ONNX Runtime
in its exact mode.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from devices.model import inspect
from devices.native.calls import Context, calls
from devices.native.compiler import compile_model
from devices.native.kernels import address, ensure, library, scratch
from devices.native.machine import Machine

ROUNDS, SLOWEST = 60, 5
DIMS = {"yunet_n_dynamic": {"height": 320, "width": 320}}
MODELS = (
    "FastestDet", "face_landmark_mesh", "hand_landmark_lite", "keypoint_classifier", "mobilenetv2_12_dynamic_int8",
    "mobilenetv2_12_fp32_derived", "mobilenetv2_12_qdq", "palm_detection_lite", "point_history_classifier",
    "selfie_segmentation_landscape", "ultraface_RFB_320", "ultraface_RFB_320_nopost", "vitTracker", "yolox_nano", "yunet_n_320",
    "yunet_n_dynamic", "bench/det320_fp32", "bench/det320_qdq_u8s8pc", "bench/mbv2_fp32", "bench/mbv2_qop_u8s8pc",
)  # fmt: skip


def peer(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def step_times(machine, outputs):
    """(seconds, kernels, output) of each step that kernels do, the best of some."""
    loaded, memory = machine._library, scratch(1 << 22)
    for step, made in zip(machine.program.steps, calls(Context(loaded.isa, machine._constant), machine.program.steps), strict=True):
        ready = [(call.kernel, machine._words(call), call.rows) for call in made or ()]
        for values, at, number, offset in machine._patches:
            values[at] = address(outputs[number]) + offset

        def run(ready=ready):
            for kernel, words, rows in ready:
                loaded.run(kernel, words, 0, rows, memory)

        if ready:
            yield min(timed(run) for _ in range(7)), "+".join(dict.fromkeys(call.kernel for call in made)), step.output.type


@pytest.mark.parametrize("name", MODELS)
def test_model(name, data: Path, benchmark, capsys):
    ensure()
    path = data / "models" / f"{name}.onnx"
    signature = inspect(path, dims=DIMS.get(name))
    random = np.random.default_rng(0)
    inputs = {key: random.standard_normal(spec.shape).astype(spec.dtype) for key, spec in signature.inputs}
    program = compile_model(path, dict(signature.dims))
    machine, theirs = Machine(program, library()), peer(path)
    given = [inputs[key] for key, _ in program.inputs]
    outputs = [np.empty(told.shape, told.dtype) for _, told in program.outputs]
    ours = lambda: machine.run(given, outputs)  # noqa: E731
    other = lambda: theirs.run(None, inputs)  # noqa: E731
    ours(), other()
    pairs = np.array([(timed(ours), timed(other)) for _ in range(ROUNDS)])
    ratio = float(np.median(pairs[:, 0] / pairs[:, 1]))
    benchmark.extra_info.update(ratio=ratio, interpreted=machine.interpreted)
    mine, peers = np.median(pairs, 0) * 1e3
    with capsys.disabled():
        print(f"\n{name:34s} {mine:8.2f} ms, onnxruntime {peers:8.2f} ms, ratio {ratio:.2f}, steps without kernels {machine.interpreted}")
        for seconds, kernels, told in sorted(step_times(machine, outputs), key=lambda item: -item[0])[:SLOWEST]:
            print(f"    {seconds * 1e6:8.0f} us  {kernels:32s} {told}")
    benchmark.pedantic(ours, rounds=3)
