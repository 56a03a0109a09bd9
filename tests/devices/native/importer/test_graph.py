"""How a file becomes a graph: order, names, open dimensions, what is refused and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from devices.engine import EngineError
from devices.native.importer import Unsupported, import_model, lacks
from devices.native.importer.table import OPERATORS
from devices.native.reference import run

node = helper.make_node
SHAPE = ("x", "float32", (1, 3, 4, 4))


def test_nodes_may_stand_in_any_order(save_any: Callable[..., Path]) -> None:
    path = save_any([node("Relu", ["a"], ["y"]), node("Neg", ["x"], ["a"])], [SHAPE], [("y", "float32")])
    assert [each.origin for each in import_model(path).nodes] == ["a", "y"]
    assert run(import_model(path), {"x": np.full(SHAPE[2], -2, np.float32)})["y"].max() == 2


def test_open_dimensions_take_their_values_by_name(save_any: Callable[..., Path]) -> None:
    path = save_any([node("Relu", ["x"], ["y"])], [("x", "float32", ("n", 3, "height", 4))], [("y", "float32")])
    assert import_model(path, {"n": 2, "height": 5}).types["x"].shape == (2, 3, 5, 4)
    with pytest.raises(EngineError, match=r"input 'x': expected a value for dimension 'height', got none"):
        import_model(path, {"n": 2})


def test_what_is_missing_is_named(save_any: Callable[..., Path]) -> None:
    nodes = [node("NonZero", ["x"], ["i"]), node("Glow", ["x"], ["g"], domain="com.example"), node("Relu", ["x"], ["y"])]
    path = save_any(nodes, [SHAPE], [("y", "float32")])
    assert lacks(path) == ("NonZero", "com.example::Glow")
    with pytest.raises(Unsupported, match=r"the engine lacks NonZero, com\.example::Glow"):
        import_model(path)


def test_versions_that_are_not_known_are_named(save_any: Callable[..., Path]) -> None:
    path = save_any([node("Relu", ["x"], ["y"])], [SHAPE], [("y", "float32")], opset=99)
    assert lacks(path) == ("Relu (operator set 99)",)


def test_variants_that_are_missing_are_named(save_any: Callable[..., Path]) -> None:
    resize = node("Resize", ["x", "", "s"], ["y"], mode="linear", antialias=1)
    path = save_any([resize], [SHAPE], [("y", "float32")], {"s": np.array([1, 1, 2, 2], np.float32)}, opset=18)
    assert lacks(path) == ("Resize(antialias=1)",)
    path = save_any([node("Reshape", ["x", "z"], ["y"])], [SHAPE, ("z", "int64", (2,))], [("y", "float32")])
    assert lacks(path) == ("Reshape (with sizes that are not constant)",)
    path = save_any([node("Cast", ["x"], ["y"], to=11)], [SHAPE], [("y", "float64")])
    assert lacks(path) == ("Cast(to=11)",)
    path = save_any([node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], [("x", "float32", ("n", 3, "h", 4))], [("i", "int64")])
    assert lacks(path) == ("MaxPool with 2 outputs",)


def test_a_model_with_all_its_operators_lacks_nothing(save_any: Callable[..., Path]) -> None:
    assert lacks(save_any([node("Relu", ["x"], ["y"])], [("x", "float32", ("n", 3))], [("y", "float32")])) == ()


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Add", ["x", "gone"], ["y"], name="sum")], r"node 'sum' \(Add\): expected a value 'gone', got no input"),
        ([node("Add", ["x", "weigth"], ["y"])], "did you mean 'weight'"),
        (
            [node("Add", ["x", "y"], ["a"], name="loop"), node("Relu", ["a"], ["y"])],
            r"node 'loop' \(Add\): expected a graph without cycles",
        ),
        ([node("Relu", ["y"], ["y"])], "without cycles"),
        ([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])], "value 'y': expected one node that gives it"),
        ([node("Relu", ["x"], ["x"]), node("Neg", ["x"], ["y"])], "value 'x': expected one node that gives it"),
        ([node("Relu", ["x"], ["z"])], "output 'y': expected a value 'y', got no input"),
        ([node("Relu", [], ["y"])], "expected an input 0, got none"),
        ([node("Conv", ["x", "weight"], ["y"])], r"node 'y' \(Conv\): .*expected"),
        ([node("Softmax", ["x"], ["y"], axis=7)], "expected an axis from -4 to 3, got 7"),
        ([node("Softmax", ["x"], ["y"], axis="one")], "attribute 'axis': expected attribute type 2, got 3"),
        ([node("Concat", ["x", "weight"], ["y"], axis=1)], "differ along axis 1 only"),
        ([node("Transpose", ["x"], ["y"], perm=[0, 0, 1, 2])], "an order of the 4 axes"),
        ([node("AveragePool", ["x"], ["y"])], "expected an attribute 'kernel_shape', got none"),
        ([node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="EVEN")], "expected NOTSET, VALID, SAME_UPPER"),
        ([node("Split", ["x", "parts"], ["y", "z"], axis=1)], r"expected 2 parts that add up to 3, got \[1, 1\]"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(nodes: list[onnx.NodeProto], message: str, save_any: Callable[..., Path]) -> None:
    path = save_any(nodes, [SHAPE], [("y", "float32")], {"weight": np.ones((2, 2), np.float32), "parts": np.array([1, 1])}, opset=13)
    with pytest.raises(EngineError, match=message) as caught:
        import_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_that_make_no_sense(scale: float, save_any: Callable[..., Path]) -> None:
    path = save_any([node("QuantizeLinear", ["x", "s", "z"], ["y"])], [SHAPE], [("y", "uint8")], {"s": np.float32(scale), "z": np.uint8(0)})
    with pytest.raises(EngineError, match="expected scales that are finite and above 0"):
        import_model(path)


def test_external_data_stays_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    graph = helper.make_graph(
        [node("Add", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", 1, [4])], [helper.make_tensor_value_info("y", 1, [4])],
        [tensor],
    )  # fmt: skip
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    with pytest.raises(EngineError, match="expected a file in the model's folder"):
        import_model(path)
    (folder / "weights").write_bytes((tmp_path / "secret").read_bytes())
    tensor.external_data[0].value = "weights"
    graph.initializer[0].CopyFrom(tensor)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    assert run(import_model(path), {"x": np.ones(4, np.float32)})["y"].tolist() == [1, 2, 3, 4]


def test_every_claim_names_an_operator_that_exists() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert {name for name in OPERATORS if "::" not in name} <= known
    assert max(claim.last for claim in OPERATORS.values()) <= onnx.defs.onnx_opset_version()
