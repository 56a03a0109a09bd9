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
from devices.native.arrays import viewed
from devices.native.assemble import assembled
from devices.native.calls import Context, calls
from devices.native.compiler import compile_model
from devices.native.isa import best
from devices.native.kernels import Words, ensure, library, scratch
from devices.native.machine import Machine
from tests.devices.published import DIMS, MODELS

ROUNDS, SLOWEST = 60, 5


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


def step_times(program, image, machine):
    """(seconds, kernels, output) of each step that kernels do, the best of some."""
    loaded, memory = library(), scratch(1 << 22)
    context = Context(best(), lambda operand: viewed(program.constants, operand.at, operand.type))
    rows = iter(image.variants[1].calls.tolist())
    for step, made in zip(program.steps, calls(context, program.steps), strict=True):
        mine = [next(rows) for _ in made or ()]

        def run(mine=mine):
            for kernel, count, first, words in mine:
                loaded.run(image.kernels[kernel], Words(machine._words[first : first + words]), 0, count, memory)

        if mine:
            yield min(timed(run) for _ in range(7)), "+".join(dict.fromkeys(call.kernel for call in made)), step.output.type


@pytest.mark.parametrize("name", MODELS)
def test_model(name, data: Path, benchmark, capsys):
    ensure()
    path = data / "models" / f"{name}.onnx"
    signature = inspect(path, dims=DIMS.get(name))
    random = np.random.default_rng(0)
    inputs = {key: np.array(random.standard_normal(spec.shape), spec.dtype) for key, spec in signature.inputs}
    program = compile_model(path, dict(signature.dims))
    image, theirs = assembled(program, best()), peer(path)
    machine = Machine(image, library())
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
        for seconds, kernels, told in sorted(step_times(program, image, machine), key=lambda item: -item[0])[:SLOWEST]:
            print(f"    {seconds * 1e6:8.0f} us  {kernels:32s} {told}")
    benchmark.pedantic(ours, rounds=3)
