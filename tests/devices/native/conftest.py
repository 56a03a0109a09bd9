from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.native.ir import Graph, Type, verify
from devices.native.reference import run

Arrays = dict[str, np.ndarray]


def sample(told: Type, random: np.random.Generator) -> np.ndarray:
    if told.dtype == "float32":
        return random.standard_normal(told.shape).astype(np.float32)
    return random.integers(0, 2 if told.dtype == "bool" else 100, told.shape).astype(told.dtype)


@pytest.fixture
def feed() -> Callable[..., Arrays]:
    """Random inputs of a graph: `feed(graph, seed)`."""

    def make(graph: Graph, seed: int = 0) -> Arrays:
        random = np.random.default_rng(seed)
        return {name: sample(graph.types[name], random) for name in graph.inputs}

    return make


@pytest.fixture
def close() -> Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray], float], float]:
    """Checks that two sets of outputs are alike; gives the largest difference as a part of the largest value."""

    def check(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float = 1e-5) -> float:
        assert list(got) == list(wanted)
        worst = 0.0
        for name, array in wanted.items():
            other = got[name]
            assert (other.dtype, other.shape) == (array.dtype, array.shape), name
            if array.dtype.kind != "f":
                assert np.array_equal(other, array), name
            elif array.size:
                worst = max(worst, float(np.abs(other - array).max() / max(1e-3, np.abs(array).max())))
        assert worst <= tolerance
        return worst

    return check


@pytest.fixture
def before_and_after(feed: Callable[..., Arrays], close: Callable[..., float]) -> Callable[..., Graph]:
    """Runs a pass and checks that the graph it gives is sound, keeps its signature, and computes the same."""

    def check(graph: Graph, change: Callable[[Graph], Graph], tolerance: float = 1e-5) -> Graph:
        verify(graph)
        changed = change(graph)
        verify(changed)
        assert changed.inputs == graph.inputs
        assert [public for public, _ in changed.outputs] == [public for public, _ in graph.outputs]
        for seed in range(2):
            inputs = feed(graph, seed)
            close(run(changed, inputs), run(graph, inputs), tolerance)
        return changed

    return check


@pytest.fixture
def save_any(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX model, of Microsoft's operators too: `save_any(nodes, inputs, outputs, constants, opset=...)`."""

    def save(
        nodes: Sequence[Any], inputs: Sequence[tuple[str, str, Sequence[int | str]]], outputs: Sequence[tuple[str, str]],
        constants: Mapping[str, np.ndarray] | None = None, *, opset: int = 17,
    ) -> Path:  # fmt: skip
        import onnx
        from onnx import helper, numpy_helper

        def value(name: str, dtype: str, shape: Sequence[int | str] | None) -> Any:
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

        graph = helper.make_graph(
            nodes, "test", [value(*item) for item in inputs], [value(*item, None) for item in outputs],
            [numpy_helper.from_array(np.asarray(array), key) for key, array in (constants or {}).items()],
        )  # fmt: skip
        sets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
        return path

    return save


@pytest.fixture
def onnxruntime_run() -> Callable[..., Arrays]:
    """What ONNX Runtime gives on one thread, in its exact mode unless told otherwise."""

    def go(path: Path, inputs: Mapping[str, np.ndarray], *, exact: bool = True) -> Arrays:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return dict(zip([output.name for output in session.get_outputs()], session.run(None, dict(inputs)), strict=True))

    return go
