from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from devices.native.describe import Compiled, describe
from devices.native.floats import float_layers_of

WEIGHTS = {"w": np.ones((4, 4, 1, 1), np.int8), "zero": np.zeros(4, np.int8), "scale": np.full(4, 0.1, np.float32)}
ACTIVATIONS = {"s": np.float32(0.05), "z": np.uint8(3)}
Nodes = list[onnx.NodeProto]


def pair(x: str, y: str) -> Nodes:
    return [
        helper.make_node("QuantizeLinear", [x, "s", "z"], [f"{y}_stored"], f"{y}_q"),
        helper.make_node("DequantizeLinear", [f"{y}_stored", "s", "z"], [y], f"{y}_dq"),
    ]


def conv(x: str, y: str) -> Nodes:
    return [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], [f"{y}_w"], f"{y}_weights", axis=0),
        helper.make_node("Conv", [x, f"{y}_w"], [y], y),
    ]


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[Nodes], Compiled]:
    """A model with these nodes from x to y."""

    def made(nodes: Nodes) -> Compiled:
        x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 5, 5]) for name in "xy")
        read = {name for node in nodes for name in node.input}
        constants = {name: array for name, array in {**WEIGHTS, **ACTIVATIONS}.items() if name in read}
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
        model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 17)])
        onnx.save(model, tmp_path / "model.onnx")
        return describe(tmp_path / "model.onnx", {})

    return made


CASES: dict[str, tuple[Nodes, list[tuple[str, str, str]]]] = {
    "all in whole numbers": ([*pair("x", "a"), *conv("a", "b"), *pair("b", "y")], []),
    "nothing is quantized": ([helper.make_node("Sigmoid", ["x"], ["y"], "y")], []),
    "no quantize after": ([*pair("x", "a"), *conv("a", "y")], []),
    "an activation after": (
        [*pair("x", "a"), *conv("a", "b"), helper.make_node("Sigmoid", ["b"], ["y"], "y")],
        [("Unary sigmoid", "y", "its result is not quantized")],
    ),
    "none before": (
        [*conv("x", "b"), *pair("b", "y")], [("Conv", "b", "not all of its inputs are quantized to 8 bits with one scale")],
    ),
    "an activation between": (
        [*pair("x", "a"), *conv("a", "b"), helper.make_node("Sigmoid", ["b"], ["c"], "c"), *pair("c", "y")],
        [("Unary sigmoid", "c", "nothing is quantized before its activation (sigmoid)")],
    ),
    "read twice": (
        [*pair("x", "a"), *conv("a", "b"), *pair("b", "c"), helper.make_node("Add", ["b", "c"], ["d"], "d"), *pair("d", "y")],
        [("Binary add", "d", "not all of its inputs are quantized to 8 bits with one scale")],
    ),
    "no form": (
        [*pair("x", "a"), helper.make_node("Div", ["a", "a"], ["b"], "b"), *pair("b", "y")],
        [("Binary div", "b", "it has no form over whole numbers")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layers_that_lose_their_integer_form_are_named_with_the_reason(name: str, compiled: Callable[[Nodes], Compiled]) -> None:
    nodes, wanted = CASES[name]
    assert [(layer.op, layer.origin, layer.why) for layer in compiled(nodes).floats] == wanted


def test_a_file_is_asked_without_being_compiled(compiled: Callable[[Nodes], Compiled], tmp_path: Path) -> None:
    found = compiled(CASES["read twice"][0])
    assert float_layers_of(tmp_path / "model.onnx", {}) == found.floats
