from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from devices.engine import Engine, EngineError, ModelInfo, Session
from devices.engines.onnxruntime import BINDINGS, ENGINE
from devices.model import inspect
from devices.spec import TensorSpec

node = helper.make_node


@pytest.fixture
def session(scale_model: Path) -> Session:
    return ENGINE.load(inspect(scale_model).as_model(), threads=1)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 4, 6)).astype(np.float32)


def test_it_keeps_the_contracts(session: Session) -> None:
    assert isinstance(ENGINE, Engine)
    assert isinstance(session, Session)
    assert ENGINE.missing() is None
    assert dict(session.inputs) == {"x": TensorSpec("float32", (1, 3, 4, 6))}
    assert list(session.outputs) == ["y"]


def test_run(session: Session) -> None:
    array = picture()
    assert np.array_equal(session.run({"x": array})["y"], array * 3)


def test_run_into_given_memory(session: Session) -> None:
    array, given = picture(), np.zeros((1, 3, 4, 6), np.float32)
    result = session.run({"x": array}, {"y": given})
    assert result["y"] is given
    assert np.array_equal(given, array * 3)


def test_bindings_follow_the_memory(session: Session) -> None:
    """More pairs of arrays than bindings are kept, coming back in changing order."""
    inputs = [picture(seed) for seed in range(BINDINGS + 7)]
    outputs = [np.zeros((1, 3, 4, 6), np.float32) for _ in range(5)]
    for turn in range(3):
        for index, array in enumerate(inputs):
            given = outputs[(index + turn) % len(outputs)]
            session.run({"x": array}, {"y": given})
            assert np.array_equal(given, array * 3)


def test_memory_that_moved_to_another_shape(save_model: Callable[..., Path]) -> None:
    """Two sessions over one buffer: what one bound does not disturb the other."""
    buffer = np.zeros(24, np.float32)
    sessions = []
    for shape in ((4, 6), (24,)):
        path = save_model([node("Relu", ["x"], ["y"])], [("x", "float32", shape)], [("y", "float32", shape)], name=f"{len(shape)}.onnx")
        sessions.append((shape, ENGINE.load(inspect(path).as_model(), threads=1)))
    for value in (1.0, -1.0, 3.0):
        buffer[:] = value
        for shape, loaded in sessions:
            found = loaded.run({"x": buffer.reshape(shape)})["y"]
            assert found.shape == shape
            assert (found == max(0.0, value)).all()


def test_strided_and_read_only_inputs(session: Session) -> None:
    wide = np.random.default_rng(0).standard_normal((1, 3, 4, 12)).astype(np.float32)
    strided = wide[..., ::2]
    strided.setflags(write=False)
    assert np.array_equal(session.run({"x": strided})["y"], strided * 3)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bool", "uint8", "int8", "int32", "int64", "uint16"])
def test_every_dtype(save_model: Callable[..., Path], dtype: str) -> None:
    path = save_model([node("Identity", ["x"], ["y"])], [("x", dtype, [2, 2])], [("y", dtype, [2, 2])])
    array = np.array([[1, 0], [1, 1]]).astype(dtype)
    assert np.array_equal(ENGINE.load(inspect(path).as_model(), threads=1).run({"x": array})["y"], array)


def test_scalars(save_model: Callable[..., Path]) -> None:
    path = save_model([node("Neg", ["x"], ["y"])], [("x", "float32", [])], [("y", "float32", [])])
    assert ENGINE.load(inspect(path).as_model(), threads=1).run({"x": np.array(3, np.float32)})["y"] == -3


def test_open_dimensions_are_fixed(save_model: Callable[..., Path]) -> None:
    path = save_model([node("Relu", ["x"], ["y"])], [("x", "float32", ["batch", "n"])], [("y", "float32", ["batch", "n"])])
    loaded = ENGINE.load(inspect(path, dims={"n": 3}).as_model(), threads=1)
    assert loaded.run({"x": -np.ones((1, 3), np.float32)})["y"].tolist() == [[0, 0, 0]]


class TestOpenBatch:
    @pytest.fixture
    def loaded(self, save_model: Callable[..., Path]) -> Session:
        shape = ["batch", 3]
        path = save_model([node("Softmax", ["x"], ["y"])], [("x", "float32", shape)], [("y", "float32", shape)])
        return ENGINE.load(inspect(path).as_model(), threads=1)

    def test_any_number_of_items(self, loaded: Session) -> None:
        assert loaded.batches  # type: ignore[attr-defined]
        assert loaded.inputs["x"].shape == (1, 3)
        random = np.random.default_rng(0)
        for items in (1, 4, 2, 4):
            x = random.standard_normal((items, 3)).astype(np.float32)
            alone = [loaded.run({"x": x[place : place + 1]})["y"].copy() for place in range(items)]
            given = np.empty((items, 3), np.float32)
            assert loaded.run({"x": x}, {"y": given})["y"] is given
            assert np.allclose(given, np.concatenate(alone), atol=1e-6)
            assert loaded.run({"x": x})["y"].shape == (items, 3)

    def test_memory_that_serves_batches_of_two_sizes(self, loaded: Session) -> None:
        x, y = np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32)
        for items in (4, 2, 3, 4):
            y[:] = 0
            loaded.run({"x": x[:items]}, {"y": y[:items]})
            assert np.allclose(y[:items], 1 / 3)
            assert (y[items:] == 0).all()

    @pytest.mark.parametrize(("x", "y"), [((2, 4), (2, 4)), ((2, 3), (3, 3)), ((0, 3), (0, 3)), ((3,), (3,))])
    def test_shapes_that_do_not_fit(self, loaded: Session, x: tuple[int, ...], y: tuple[int, ...]) -> None:
        with pytest.raises(EngineError, match=r"put '[xy]': expected"):
            loaded.run({"x": np.zeros(x, np.float32)}, {"y": np.zeros(y, np.float32)})

    def test_it_is_fixed_where_nobody_asks_for_batches(self, save_model: Callable[..., Path]) -> None:
        path = save_model([node("Relu", ["x"], ["y"])], [("x", "float32", ["batch", 3])], [("y", "float32", ["batch", 3])])
        loaded = ENGINE.load(replace(inspect(path).as_model(), batch=None), threads=1)
        assert not loaded.batches  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="expected float32"):
            loaded.run({"x": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, r"inputs: expected {x: float32\[1x3x4x6\]}, got {}"),
        ({"xx": picture()}, "did you mean 'x' for 'xx'"),
        ({"x": picture(), "z": picture()}, r"got {x, z}"),
        ({"x": picture().astype(np.float64)}, r"input 'x': expected float32\[1x3x4x6\], got float64\[1x3x4x6\]; use .astype"),
        ({"x": picture()[0]}, r"got float32\[3x4x6\]"),
        ({"x": picture().astype(">f4")}, "expected float32"),
        ({"x": picture().tolist()}, "got list"),
    ],
)
def test_inputs_that_do_not_fit(session: Session, inputs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        session.run(inputs)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({}, "outputs: expected"),
        ({"z": picture()}, "outputs: expected"),
        ({"y": picture().astype(np.int32)}, "output 'y': expected float32"),
        ({"y": np.zeros((1, 3, 4, 12), np.float32)[..., ::2]}, "contiguous memory"),
        ({"y": np.broadcast_to(np.float32(0), (1, 3, 4, 6))}, "contiguous memory"),
    ],
)
def test_outputs_that_do_not_fit(session: Session, outputs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        session.run({"x": picture()}, outputs)


def test_closed(session: Session) -> None:
    session.close()
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.run({"x": picture()})


def test_output_size_that_depends_on_the_data(save_model: Callable[..., Path]) -> None:
    """The run fails and says so; the session goes on."""
    path = save_model(
        [node("Cast", ["x"], ["n"], to=onnx.TensorProto.INT64), node("Add", ["n", "one"], ["m"]), node("Expand", ["v", "m"], ["y"])],
        [("x", "float32", [1])], [("y", "float32", ["k"])], {"one": np.int64([2]), "v": np.float32([1])},
    )  # fmt: skip
    loaded = ENGINE.load(inspect(path).as_model(), threads=1)
    with pytest.raises(EngineError, match=r"the run failed: .*\b5\b"):
        loaded.run({"x": np.float32([3])})
    assert loaded.run({"x": np.float32([0])})["y"].tolist() == [1, 1]


def test_operators_it_lacks(save_model: Callable[..., Path], scale_model: Path) -> None:
    shape = [("x", "float32", [2])], [("y", "float32", [2])]
    assert ENGINE.lacks(save_model([node("Wobble", ["x"], ["y"])], *shape, name="a.onnx")) == ("Wobble",)
    own = save_model([node("Wobble", ["x"], ["y"], domain="com.acme")], *shape, name="b.onnx")
    model = onnx.load(own)
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    onnx.save(model, own)
    assert ENGINE.lacks(own) == ("com.acme::Wobble",)
    assert ENGINE.lacks(scale_model) == ()


def test_graph_that_makes_no_sense(save_model: Callable[..., Path]) -> None:
    path = save_model([node("Relu", ["q"], ["y"])], [("x", "float32", [2])], [("y", "float32", [2])])
    with pytest.raises(EngineError, match="'q' is not a graph input"):
        ENGINE.lacks(path)
    with pytest.raises(EngineError, match="expected a model it can load"):
        ENGINE.load(inspect(path).as_model(), threads=1)


def test_file_that_changed_since_it_was_looked_at(save_model: Callable[..., Path]) -> None:
    def save(size: int) -> ModelInfo:
        return inspect(save_model([node("Relu", ["x"], ["y"])], [("x", "float32", [size])], [("y", "float32", [size])])).as_model()

    old = save(2)
    save(3)
    with pytest.raises(EngineError, match=r"inputs: expected {x: float32\[2\]}, got {x: float32\[3\]}"):
        ENGINE.load(old, threads=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads: expected at least 1"),
        ({"threads": 1, "precision": "exakt"}, "expected auto or exact, got 'exakt'; did you mean 'exact'"),
    ],
)
def test_options_that_do_not_fit(scale_model: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        ENGINE.load(inspect(scale_model).as_model(), **options)  # type: ignore[arg-type]


def test_exact_precision_does_not_saturate(save_model: Callable[..., Path]) -> None:
    """Pairs of uint8 x int8 products overflow 16 bits in the fast kernels of x86 without VNNI; the exact ones keep every sum."""
    random = np.random.default_rng(1)
    weights = random.integers(-127, 128, (64, 32)).astype(np.int8)
    path = save_model(
        [node("MatMulInteger", ["x", "w"], ["y"])], [("x", "uint8", [49, 64])], [("y", "int32", [49, 32])], {"w": weights}
    )  # fmt: skip
    array = random.integers(128, 256, (49, 64)).astype(np.uint8)
    found = ENGINE.load(inspect(path).as_model(), threads=1, precision="exact").run({"x": array})["y"]
    assert np.array_equal(found, array.astype(np.int32) @ weights.astype(np.int32))


def test_threads_give_the_same_results(data: Path) -> None:
    model = inspect(data / "models" / "FastestDet.onnx").as_model()
    array = np.random.default_rng(0).random((1, 3, 352, 352), np.float32)
    one, two = (ENGINE.load(model, threads=count).run({"input.1": array})["758"] for count in (1, 2))
    assert np.allclose(one, two, atol=1e-5)


def test_one_thread_starts_no_others(data: Path) -> None:
    before = threading.active_count(), len(list(Path("/proc/self/task").iterdir()))
    loaded = ENGINE.load(inspect(data / "models" / "FastestDet.onnx").as_model(), threads=1)
    loaded.run({"input.1": np.zeros((1, 3, 352, 352), np.float32)})
    assert (threading.active_count(), len(list(Path("/proc/self/task").iterdir()))) == before


def test_waiting_threads_sleep(scale_model: Path) -> None:
    loaded = ENGINE.load(inspect(scale_model).as_model(), threads=2)
    options = loaded._session.get_session_options()  # type: ignore[attr-defined]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    for pool in ("intra_op", "inter_op"):
        assert options.get_session_config_entry(f"session.{pool}.allow_spinning") == "0"


def test_it_leaves_nothing_behind_and_sends_nothing(tmp_path: Path) -> None:
    """Left alone, the package begins a record of its session in the folder for temporary files."""
    code = "from devices.engines.onnxruntime import library; library()"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
