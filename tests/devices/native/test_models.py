"""Real models against ONNX Runtime: float ones to rounding, 8-bit ones bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from devices.model import inspect
from devices.native.assemble import assembled
from devices.native.compiler import compile_model, load_graph
from devices.native.execute import Executor
from devices.native.importer import lacks
from devices.native.kernels import Library, ensure, library
from devices.native.lower import Program
from devices.native.machine import Machine
from devices.native.passes import stages
from devices.native.reference import run
from tests.devices.published import MODELS

EXACT = {"bench/mbv2_qop_u8s8pc", "bench/det320_qdq_u8s8pc", "mobilenetv2_12_qdq", "mobilenetv2_12_dynamic_int8"}
DIMS = {"yunet_n_dynamic": {"height": 160, "width": 224}}
READ = {
    "FastestDet", "face_landmark_mesh", "keypoint_classifier", "point_history_classifier", "selfie_segmentation_landscape",
    "ultraface_RFB_320", "vitTracker", "bench/det320_qdq_u8s8pc", "bench/mbv2_qop_u8s8pc",
}  # fmt: skip
"""Models that the reference is tried on here, too; it takes a second for the others."""
ALIKE = 1e-5
"""Largest difference as a part of the largest value. A model that differs by more must be as close to float64 as ONNX Runtime is."""


def executed(program: Program, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = {name: np.empty(told.shape, told.dtype) for name, told in program.outputs}
    Executor(program).run([inputs[name] for name, _ in program.inputs], list(outputs.values()))
    return outputs


@pytest.fixture(scope="module")
def kernels() -> Library:
    ensure()
    return library()


def compiled(program: Program, kernels: Library, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = {name: np.empty(told.shape, told.dtype) for name, told in program.outputs}
    Machine(assembled(program, kernels.isa), kernels).run([inputs[name] for name, _ in program.inputs], list(outputs.values()))
    return outputs


def apart(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    return max(float(np.abs(got[name].astype(float) - array).max() / max(0.1, np.abs(array).max())) for name, array in wanted.items())


@pytest.mark.parametrize("name", MODELS)
def test_as_onnx_runtime_runs_it(name: str, data: Path, kernels: Library, onnxruntime_run: Callable[..., dict[str, np.ndarray]]) -> None:
    path = data / "models" / f"{name}.onnx"
    signature = inspect(path, dims=DIMS.get(name))
    assert lacks(path) == ()
    program = compile_model(path, dict(signature.dims))
    random = np.random.default_rng(0)
    inputs = {key: random.standard_normal(spec.shape).astype(spec.dtype) for key, spec in signature.inputs}
    wanted = onnxruntime_run(path, inputs)
    results = [compiled(program, kernels, inputs)]
    if name in READ:
        results.append(executed(program, inputs))
    for got in results:
        assert {key: (array.dtype, array.shape) for key, array in got.items()} == {key: (a.dtype, a.shape) for key, a in wanted.items()}
        difference = apart(got, wanted)
        if name in EXACT:
            assert difference == 0
        elif difference > ALIKE:
            oracle = run(load_graph(path, dict(signature.dims)), inputs, wide=True)
            assert apart(got, oracle) <= 1.5 * apart(wanted, oracle)


def test_every_model_is_tried(data: Path) -> None:
    found = {str(path.relative_to(data / "models").with_suffix("")) for path in (data / "models").rglob("*.onnx")}
    assert found == set(MODELS)


@pytest.mark.parametrize("name", ["mobilenetv2_12_fp32_derived", "mobilenetv2_12_qdq", "yunet_n_dynamic", "point_history_classifier"])
def test_a_batch_is_its_items(name: str, data: Path, kernels: Library) -> None:
    path = data / "models" / f"{name}.onnx"
    dims = dict(inspect(path, dims={"height": 64, "width": 96} if name in DIMS else None).dims)
    program = compile_model(path, dims)
    assert program.batch
    random = np.random.default_rng(0)
    many = program.at(3)
    inputs = {key: random.standard_normal(told.shape).astype(told.dtype) for key, told in many.inputs}
    whole = compiled(many, kernels, inputs)
    for item in range(3):
        alone = compiled(
            program, kernels, {key: array[item : item + 1] if key in program.graph.batch else array for key, array in inputs.items()}
        )
        for key, array in alone.items():
            assert np.allclose(whole[key][item : item + 1], array, rtol=1e-4, atol=1e-5), key


def test_passes_leave_little(data: Path) -> None:
    """MobileNetV2: one step a convolution, and one change of order at the start."""
    float_graph = stages(load_graph(data / "models/bench/mbv2_fp32.onnx", {}))[-1][1]
    assert sorted({type(node.op).__name__ for node in float_graph.nodes}) == ["Conv", "Dense", "Reduce", "Transpose", "View"]
    assert len(float_graph.nodes) == 56
    quantized = stages(load_graph(data / "models/mobilenetv2_12_qdq.onnx", {}))[-1][1]
    assert sum(type(node.op).__name__ == "QConv" for node in quantized.nodes) == 52
