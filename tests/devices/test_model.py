from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from devices.engine import Batching, EngineError
from devices.model import inspect
from devices.spec import TensorSpec

node = helper.make_node


def refusal(path: Path, **dims: int) -> str:
    with pytest.raises(EngineError) as refused:
        inspect(path, dims=dims)
    return str(refused.value)


def test_signature(scale_model: Path) -> None:
    found = inspect(scale_model)
    spec = TensorSpec("float32", (1, 3, 4, 6))
    assert (found.inputs, found.outputs, found.dims) == ((("x", spec),), (("y", spec),), ())
    assert (found.opset, found.operators) == ((("ai.onnx", 17),), ("Mul",))
    model = found.as_model()
    assert (model.name, model.digest, model.inputs, model.input) == ("model", found.digest, found.inputs, None)


def test_constants_are_no_inputs(scale_model: Path) -> None:
    """Files of IR version 3 list their constants among the inputs."""
    model = onnx.load(scale_model)
    model.graph.input.append(helper.make_tensor_value_info("three", 1, [1]))
    onnx.save(model, scale_model)
    assert [name for name, _ in inspect(scale_model).inputs] == ["x"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bool", "uint8", "int8", "int32", "int64", "uint16"])
def test_dtype_names(save_model: Callable[..., Path], dtype: str) -> None:
    found = inspect(save_model([node("Identity", ["x"], ["y"])], [("x", dtype, [2])], [("y", dtype, [2])]))
    assert found.inputs == (("x", TensorSpec(dtype, (2,))),) and found.outputs[0][1].dtype == dtype  # noqa: PT018


def test_scalar_input(save_model: Callable[..., Path]) -> None:
    path = save_model(
        [node("Mul", ["x", "k"], ["y"])], [("x", "float32", ["batch", 2]), ("k", "float32", [])], [("y", "float32", ["batch", 2])]
    )
    assert dict(inspect(path).inputs)["k"] == TensorSpec("float32", ())


class TestOpenDimensions:
    @pytest.fixture
    def path(self, save_model: Callable[..., Path]) -> Path:
        shape = ["batch", 3, "height", "width"]
        return save_model([node("Relu", ["x"], ["y"])], [("x", "float32", shape)], [("y", "float32", shape)])

    def test_batch_is_one(self, path: Path) -> None:
        found = inspect(path, dims={"height": 4, "width": 6})
        assert found.outputs == (("y", TensorSpec("float32", (1, 3, 4, 6))),)
        assert found.dims == (("batch", 1), ("height", 4), ("width", 6))

    def test_the_batch_is_open(self, path: Path) -> None:
        found = inspect(path, dims={"height": 4, "width": 6})
        assert found.batch == "batch"
        assert found.as_model().batch == Batching(dimension="batch")

    @pytest.mark.parametrize("name", ["batch", "x:0"])
    def test_the_batch_is_not_open_where_it_has_a_value(self, path: Path, name: str) -> None:
        assert inspect(path, dims={"height": 4, "width": 6, name: 2}).batch is None

    @pytest.mark.parametrize(("x", "y"), [((2, 3), (2, 3)), ((None, 3), (None, 3)), (("a", 3), ("b", 3)), (("a", "a"), ("a", "a"))])
    def test_it_is_open_only_where_all_tensors_say_so(self, save_model: Callable[..., Path], x: Any, y: Any) -> None:
        path = save_model([node("Relu", ["x"], ["y"])], [("x", "float32", x)], [("y", "float32", y)])
        assert inspect(path).batch is None

    def test_batch_can_be_set(self, path: Path) -> None:
        assert inspect(path, dims={"height": 4, "width": 6, "batch": 5}).inputs[0][1].shape == (5, 3, 4, 6)

    def test_by_place(self, path: Path) -> None:
        assert inspect(path, dims={"x:2": 4, "width": 6}).inputs[0][1].shape == (1, 3, 4, 6)

    def test_missing_are_named(self, path: Path) -> None:
        assert "'height', 'width'" in refusal(path)
        assert "expected a value for dimension 'width'" in refusal(path, height=4)
        assert "`dims: {width: 1}`" in refusal(path, height=4)

    def test_nearest_name(self, path: Path) -> None:
        assert "did you mean 'height'" in refusal(path, heigth=4, width=6)

    def test_fixed_dimension(self, path: Path) -> None:
        assert "the file fixes at 3" in refusal(path, **{"x:1": 4})

    def test_two_values(self, path: Path) -> None:
        assert "got 4 and 5" in refusal(path, **{"height": 4, "x:2": 5})

    @pytest.mark.parametrize("value", [0, -1, 65537, True])
    def test_absurd_value(self, path: Path, value: int) -> None:
        assert "a whole number from 1 to 65536" in refusal(path, height=value)

    def test_absurd_size(self, path: Path) -> None:
        assert "expected at most 1073741824 bytes" in refusal(path, height=65536, width=65536)

    def test_without_a_name(self, save_model: Callable[..., Path]) -> None:
        path = save_model([node("Relu", ["x"], ["y"])], [("x", "float32", [None, None])], [("y", "float32", [None, None])])
        assert "'x:1'" in refusal(path)
        assert inspect(path, dims={"x:1": 7}).outputs == (("y", TensorSpec("float32", (1, 7))),)


class TestOutputs:
    def test_inferred(self, save_model: Callable[..., Path]) -> None:
        path = save_model([node("Transpose", ["x"], ["y"], perm=[1, 0])], [("x", "float32", ["batch", 3])], [("y", "float32", ["a", "b"])])
        assert inspect(path).outputs == (("y", TensorSpec("float32", (3, 1))),)

    def test_without_a_declared_shape(self, save_model: Callable[..., Path]) -> None:
        path = save_model([node("Relu", ["x"], ["y"])], [("x", "float32", [2, 3])], [("y", "float32", [2, 3])])
        model = onnx.load(path)
        model.graph.output[0].type.tensor_type.ClearField("shape")
        onnx.save(model, path)
        assert inspect(path).outputs == (("y", TensorSpec("float32", (2, 3))),)

    def test_computed_from_the_shape(self, save_model: Callable[..., Path]) -> None:
        path = save_model(
            [node("Shape", ["x"], ["s"]), node("ReduceProd", ["s"], ["n"]), node("Reshape", ["x", "n"], ["y"])],
            [("x", "float32", ["batch", 3, "h"])], [("y", "float32", ["k"])],
        )  # fmt: skip
        assert inspect(path, dims={"h": 4}).outputs == (("y", TensorSpec("float32", (12,))),)

    def test_seen_in_a_run(self, save_model: Callable[..., Path]) -> None:
        path = save_model(
            [node("Cast", ["x"], ["n"], to=onnx.TensorProto.INT64), node("Add", ["n", "one"], ["m"]), node("Expand", ["v", "m"], ["y"])],
            [("x", "float32", [1])], [("y", "float32", ["k"])], {"one": np.int64([5]), "v": np.float32([1])},
        )  # fmt: skip
        assert inspect(path).outputs == (("y", TensorSpec("float32", (5,))),)

    def test_depending_on_the_data(self, save_model: Callable[..., Path]) -> None:
        path = save_model([node("NonZero", ["x"], ["y"])], [("x", "float32", [4])], [("y", "int64", [1, "n"])])
        assert "depend on the data (NonZero)" in refusal(path)

    def test_run_that_fails(self, save_model: Callable[..., Path]) -> None:
        path = save_model(
            [node("Cast", ["x"], ["n"], to=onnx.TensorProto.INT64), node("Reshape", ["x", "n"], ["y"])],
            [("x", "float32", [3])], [("y", "float32", ["a", "b", "c"])],
        )  # fmt: skip
        assert "a run over zeros failed" in refusal(path)


def test_sequences_are_refused(save_model: Callable[..., Path]) -> None:
    path = save_model([node("SequenceConstruct", ["x"], ["y"])], [("x", "float32", [2])], [("y", "float32", [2])])
    model = onnx.load(path)
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", 1, [2]))
    onnx.save(model, path)
    assert "output 'y': expected a tensor, got sequence_type" in refusal(path)


@pytest.mark.parametrize("element", [onnx.TensorProto.STRING, onnx.TensorProto.BFLOAT16, onnx.TensorProto.COMPLEX64])
def test_elements_without_an_array_type(save_model: Callable[..., Path], element: int) -> None:
    path = save_model([node("Identity", ["x"], ["y"])], [("x", "float32", [2])], [("y", "float32", [2])])
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = element
    onnx.save(model, path)
    assert onnx.TensorProto.DataType.Name(element).lower() in refusal(path)


@pytest.mark.parametrize(
    ("file", "dims", "inputs", "outputs"),
    [
        ("yolox_nano", {}, "images float32[1x3x416x416]", "output float32[1x3549x85]"),
        ("FastestDet", {}, "input.1 float32[1x3x352x352]", "758 float32[1x85x22x22]"),
        ("ultraface_RFB_320", {}, "input float32[1x3x240x320]", "scores float32[1x4420x2], boxes float32[1x4420x4]"),
        ("palm_detection_lite", {}, "input_1 float32[1x192x192x3]", "Identity float32[1x2016x18], Identity_1 float32[1x2016x1]"),
        ("keypoint_classifier", {}, "input float32[1x42]", "class_ids int64[1]"),
        ("point_history_classifier", {"batch": 2}, "input float32[2x32], score_threshold float32[]", "class_ids int64[2]"),
        ("mobilenetv2_12_dynamic_int8", {}, "input float32[1x3x224x224]", "output float32[1x1000]"),
    ],
)
def test_real_models(data: Path, file: str, dims: dict[str, int], inputs: str, outputs: str) -> None:
    found = inspect(data / "models" / f"{file}.onnx", dims=dims)
    assert ", ".join(f"{name} {spec}" for name, spec in found.inputs) == inputs
    assert ", ".join(f"{name} {spec}" for name, spec in found.outputs) == outputs


def test_real_model_of_open_size(data: Path) -> None:
    found = dict(inspect(data / "models" / "yunet_n_dynamic.onnx", dims={"height": 320, "width": 640}).outputs)
    assert len(found) == 12
    assert [found[f"kps_{stride}"].shape for stride in (8, 16, 32)] == [(1, 3200, 10), (1, 800, 10), (1, 200, 10)]


def test_real_model_refuses_without_a_size(data: Path) -> None:
    assert "'height', 'width'" in refusal(data / "models" / "yunet_n_dynamic.onnx")
