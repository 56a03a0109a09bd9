from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import devices
from devices.engine import EngineError

SHAPE = (1, 3, 4, 6)


def test_a_model_used_alone(scale_model: Path) -> None:
    session = devices.load(str(scale_model), engine="onnxruntime", threads=1)
    assert (session.run({"x": np.ones(SHAPE, np.float32)})["y"] == 3).all()


def test_auto_takes_an_engine_that_covers_the_model(scale_model: Path) -> None:
    assert (devices.load(scale_model).run({"x": np.ones(SHAPE, np.float32)})["y"] == 3).all()


def test_auto_names_what_each_engine_lacks(save_model: Callable[..., Path]) -> None:
    path = save_model([helper.make_node("Wobble", ["x"], ["y"])], [("x", "float32", [2])], [("y", "float32", [2])])
    with pytest.raises(EngineError, match=r"expected an engine of device cpu .*onnxruntime: it lacks Wobble"):
        devices.load(path)


def test_auto_stays_on_the_cpu(scale_model: Path, fake_device: Path) -> None:
    assert (devices.load(scale_model).run({"x": np.ones(SHAPE, np.float32)})["y"] == 3).all()


def test_engine_of_another_domain(scale_model: Path, fake_device: Path) -> None:
    """Its arrays mean nothing without a transfer."""
    device = devices.registry.device("fake")
    there, back = np.empty(SHAPE, np.float32), np.empty(SHAPE, np.float32)
    device.upload(np.ones(SHAPE, np.float32), there)
    assert not (there == 1).any()
    found = devices.load(scale_model, engine="fake").run({"x": there})["y"]
    assert not (found == 3).any()
    device.download(found, back)
    assert (back == 3).all()


def test_unknown_engine(scale_model: Path) -> None:
    with pytest.raises(EngineError, match="did you mean 'onnxruntime'"):
        devices.load(scale_model, engine="onnx-runtime")


def test_open_dimensions(save_model: Callable[..., Path]) -> None:
    path = save_model([helper.make_node("Relu", ["x"], ["y"])], [("x", "float32", [1, "n"])], [("y", "float32", [1, "n"])])
    assert devices.load(path, dims={"n": 3}).outputs["y"].shape == (1, 3)


def test_file_that_was_replaced_is_refused(scale_model: Path) -> None:
    """Same names and shapes, other weights: only the digest tells."""
    model = devices.inspect(scale_model).as_model()
    assert devices.load(model)
    changed = onnx.load(scale_model)
    changed.graph.initializer[0].raw_data = np.float32([4]).tobytes()
    onnx.save(changed, scale_model)
    with pytest.raises(EngineError, match="expected the model with digest"):
        devices.load(model)


def test_external_data_that_was_replaced_is_refused(scale_model: Path) -> None:
    onnx.save(onnx.load(scale_model), scale_model, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = devices.inspect(scale_model).as_model()
    assert (devices.load(model).run({"x": np.ones(SHAPE, np.float32)})["y"] == 3).all()
    scale_model.with_name("w.bin").write_bytes(np.float32([4]).tobytes())
    with pytest.raises(EngineError, match="expected the model with digest"):
        devices.load(model)


@pytest.mark.parametrize("name", devices.__all__)
def test_public_names(name: str) -> None:
    assert getattr(devices, name) is not None


def test_names_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Loader'"):
        devices.Loader  # noqa: B018
