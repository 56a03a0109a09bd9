from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import devices
from devices import registry, session
from devices.engine import Engine, EngineError, Session
from devices.engines.native import BATCHES, ENGINE
from devices.model import inspect
from devices.spec import TensorSpec

node = helper.make_node


@pytest.fixture
def loaded(scale_model: Path) -> Session:
    return ENGINE.load(inspect(scale_model).as_model(), threads=1)


@pytest.fixture
def open_batch(save_model: Callable[..., Path]) -> Session:
    """y = softmax(relu(x)) over rows of four, for any number of rows."""
    nodes = [node("Relu", ["x"], ["a"]), node("Softmax", ["a"], ["y"], axis=1)]
    path = save_model(nodes, [("x", "float32", ("n", 4))], [("y", "float32", ("n", 4))])
    return ENGINE.load(inspect(path).as_model(), threads=1)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 4, 6)).astype(np.float32)


def test_it_keeps_the_contracts(loaded: Session) -> None:
    assert isinstance(ENGINE, Engine)
    assert isinstance(loaded, Session)
    assert ENGINE.missing() is None
    assert dict(loaded.inputs) == {"x": TensorSpec("float32", (1, 3, 4, 6))}
    assert list(loaded.outputs) == ["y"]


def test_run(loaded: Session) -> None:
    array = picture()
    assert np.array_equal(loaded.run({"x": array})["y"], array * 3)
    assert np.array_equal(loaded.run({"x": np.asfortranarray(array)})["y"], array * 3)


def test_run_into_given_memory(loaded: Session) -> None:
    array, given = picture(), np.zeros((1, 3, 4, 6), np.float32)
    assert loaded.run({"x": array}, {"y": given})["y"] is given
    assert np.array_equal(given, array * 3)


def test_it_runs_only_where_it_is_named(scale_model: Path) -> None:
    assert "native" in registry.engines("cpu")
    assert session.choose(scale_model).name == "onnxruntime"
    assert session.choose(scale_model, "native") is ENGINE
    loaded = devices.load(scale_model, engine="native")
    assert np.array_equal(loaded.run({"x": picture()})["y"], picture() * 3)


def test_a_model_that_no_engine_but_native_could_run_is_not_given_to_it(save_model: Callable[..., Path]) -> None:
    path = save_model([node("Glow", ["x"], ["y"])], [("x", "float32", (1,))], [("y", "float32", (1,))])
    with pytest.raises(EngineError, match="onnxruntime") as caught:
        session.choose(path)
    assert "native" not in str(caught.value)


def test_what_is_missing_is_named(save_model: Callable[..., Path]) -> None:
    path = save_model([node("NonZero", ["x"], ["y"])], [("x", "float32", (1, 3))], [("y", "int64", (2, None))])
    assert ENGINE.lacks(path) == ("NonZero",)


def test_an_open_batch_takes_any_number_of_items(open_batch: Session) -> None:
    for items in (1, 3, 7, 2, *range(4, 4 + BATCHES), 3):
        x = np.random.default_rng(items).standard_normal((items, 4)).astype(np.float32)
        e = np.exp(np.maximum(x, 0))
        assert np.allclose(open_batch.run({"x": x})["y"], e / e.sum(1, keepdims=True), atol=1e-6)
        given = np.empty((items, 4), np.float32)
        assert open_batch.run({"x": x}, {"y": given})["y"] is given
    with pytest.raises(EngineError, match=r"output 'y': expected float32\[3x4\], got float32\[2x4\]"):
        open_batch.run({"x": np.zeros((3, 4), np.float32)}, {"y": np.zeros((2, 4), np.float32)})
    with pytest.raises(EngineError, match=r"input 'x': expected float32\[1x4\], got float32\[0x4\]"):
        open_batch.run({"x": np.zeros((0, 4), np.float32)})


def test_it_says_whether_it_takes_several_items(open_batch: Session, scale_model: Path) -> None:
    assert open_batch.batches  # type: ignore[attr-defined]
    assert not ENGINE.load(inspect(scale_model).as_model(), threads=1).batches  # type: ignore[attr-defined]


def test_a_batch_that_does_not_fit_in_memory(open_batch: Session) -> None:
    huge = np.broadcast_to(np.zeros(1, np.float32), (2**28, 4))
    with pytest.raises(EngineError, match="expected at most"):
        open_batch.run({"x": huge})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"inputs: expected \{x: float32"),
        ({"xx": picture()}, "did you mean 'x' for 'xx'"),
        ({"x": picture(), "z": picture()}, r"inputs: expected \{x: float32\[1x3x4x6\]\}, got \{x, z\}"),
        ({"x": picture().astype(np.float64)}, "got float64.*use .astype"),
        ({"x": picture()[0]}, r"got float32\[3x4x6\]"),
        ({"x": [1.0]}, "got list"),
    ],
)
def test_wrong_inputs_are_named(inputs: dict[str, np.ndarray], message: str, loaded: Session) -> None:
    with pytest.raises(EngineError, match=message):
        loaded.run(inputs)


def test_wrong_outputs_are_named(loaded: Session) -> None:
    fixed = np.zeros((1, 3, 4, 6), np.float32)
    fixed.flags.writeable = False
    for outputs, message in [
        ({"z": picture()}, r"outputs: expected \{y: float32"),
        ({"y": picture()[0]}, r"output 'y': expected float32\[1x3x4x6\], got float32\[3x4x6\]"),
        ({"y": np.zeros((1, 3, 6, 4), np.float32).transpose(0, 1, 3, 2)}, "contiguous memory that can be written"),
        ({"y": fixed}, "contiguous memory that can be written"),
    ]:
        with pytest.raises(EngineError, match=message):
            loaded.run({"x": picture()}, outputs)


def test_a_closed_session(loaded: Session) -> None:
    loaded.close()
    with pytest.raises(EngineError, match="expected an open session"):
        loaded.run({"x": picture()})


def test_settings_that_make_no_sense(scale_model: Path) -> None:
    model = inspect(scale_model).as_model()
    with pytest.raises(EngineError, match="did you mean 'exact'"):
        ENGINE.load(model, threads=1, precision="exct")
    with pytest.raises(EngineError, match="threads: expected at least 1, got 0"):
        ENGINE.load(model, threads=0)


def test_a_model_that_is_another_than_planned(scale_model: Path) -> None:
    model = inspect(scale_model).as_model()
    with pytest.raises(EngineError, match=r"inputs: expected \{x: float32\[1x3\]\}, got \{x: float32\[1x3x4x6\]\}"):
        ENGINE.load(replace(model, inputs=(("x", TensorSpec("float32", (1, 3))),)), threads=1)


def test_loading_imports_no_compiler(scale_model: Path) -> None:
    code = (
        "import sys, devices; devices.load(sys.argv[1], engine='native'); "
        "assert not {'numba', 'llvmlite', 'onnxruntime', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(scale_model)], check=True, timeout=60)
