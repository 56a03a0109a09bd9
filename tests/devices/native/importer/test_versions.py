"""Older and newer forms of operators, and those of other domains, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from devices.native.importer import import_model
from devices.native.ir import verify
from devices.native.reference import run

node = helper.make_node
X = ("x", "float32", (2, 4, 6, 6))
f32 = lambda *values: np.array(values, np.float32)  # noqa: E731
i64 = lambda *values: np.array(values, np.int64)  # noqa: E731
CHANNEL = {"s": f32(1, 2, 3, 4), "b": f32(0, 1, 0, 1), "m": f32(0, 0.5, 1, 2), "v": f32(1, 2, 0.5, 1)}

CASES: list[tuple[str, int, list[Any], dict[str, np.ndarray]]] = [
    ("Clip", 6, [node("Clip", ["x"], ["y"], min=-0.5, max=0.5)], {}),
    ("Clip", 12, [node("Clip", ["x", "", "high"], ["y"])], {"high": np.float32(0.3)}),
    ("Softmax", 11, [node("Softmax", ["x"], ["y"], axis=1)], {}),
    ("Softmax", 11, [node("Softmax", ["x"], ["y"], axis=3)], {}),
    ("Softmax", 13, [node("Softmax", ["x"], ["y"], axis=1)], {}),
    ("LogSoftmax", 11, [node("LogSoftmax", ["x"], ["y"])], {}),
    ("Slice", 9, [node("Slice", ["x"], ["y"], starts=[1, -4], ends=[9, -1], axes=[1, 3])], {}),
    ("Slice", 13, [node("Slice", ["x", "a", "b", "c", "d"], ["y"])], {"a": i64(5, 3), "b": i64(-99, 1), "c": i64(3, 1), "d": i64(-2, -1)}),
    ("Pad", 9, [node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, -1, 1], value=0.5)], {}),
    ("Pad", 13, [node("Pad", ["x", "p", "v"], ["y"])], {"p": i64(0, 1, 1, 0, 0, 0, 2, 1), "v": np.float32(2)}),
    ("Pad", 18, [node("Pad", ["x", "p", "", "a"], ["y"], mode="reflect")], {"p": i64(1, 2), "a": i64(-1)}),
    ("Split", 11, [node("Split", ["x"], ["a", "b"], axis=1, split=[1, 3]), node("Concat", ["b", "a"], ["y"], axis=1)], {}),
    ("Split", 11, [node("Split", ["x"], ["a", "b"], axis=2), node("Sub", ["b", "a"], ["y"])], {}),
    ("Split", 18, [node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3), node("Concat", ["c", "b", "a"], ["y"], axis=1)], {}),
    ("Squeeze", 11, [node("Unsqueeze", ["x"], ["u"], axes=[0, 5]), node("Squeeze", ["u"], ["y"], axes=[0])], {}),
    ("Squeeze", 13, [node("Unsqueeze", ["x", "a"], ["u"]), node("Squeeze", ["u"], ["y"])], {"a": i64(0, -1)}),
    ("ReduceSum", 11, [node("ReduceSum", ["x"], ["y"], axes=[1, -1], keepdims=0)], {}),
    ("ReduceSum", 13, [node("ReduceSum", ["x", "a"], ["y"])], {"a": i64(2)}),
    ("ReduceMean", 17, [node("ReduceMean", ["x"], ["y"], axes=[2, 3])], {}),
    ("ReduceMean", 18, [node("ReduceMean", ["x", "a"], ["y"], keepdims=0)], {"a": i64(1, 2)}),
    ("ReduceMax", 18, [node("ReduceMax", ["x"], ["y"], noop_with_empty_axes=1)], {}),
    ("Upsample", 7, [node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0])], {}),
    ("Upsample", 9, [node("Upsample", ["x", "s"], ["y"], mode="linear")], {"s": f32(1, 1, 2, 2)}),
    ("Resize", 10, [node("Resize", ["x", "s"], ["y"])], {"s": f32(1, 1, 1.5, 2)}),
    ("Resize", 10, [node("Resize", ["x", "s"], ["y"], mode="linear")], {"s": f32(1, 1, 2, 2)}),
    *[
        ("Resize", 13, [node("Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode=how)], {"s": f32(1, 1, 2, 1.5)})
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ],
    ("Resize", 13, [node("Resize", ["x", "", "", "z"], ["y"], mode="linear")], {"z": i64(2, 4, 9, 4)}),
    ("Resize", 18, [node("Resize", ["x", "", "", "z"], ["y"], axes=[3, 2], keep_aspect_ratio_policy="not_larger")], {"z": i64(9, 24)}),
    ("Resize", 11, [node("Resize", ["x", "r", "s"], ["y"], coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor")],
     {"r": np.zeros(0, np.float32), "s": f32(1, 1, 2, 1.5)}),
    ("BatchNormalization", 9, [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=0.01)], CHANNEL),
    ("BatchNormalization", 14, [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], CHANNEL),
    ("InstanceNormalization", 13, [node("InstanceNormalization", ["x", "s", "b"], ["y"])], {"s": CHANNEL["s"], "b": CHANNEL["b"]}),
    ("LayerNormalization", 17, [node("LayerNormalization", ["x", "s"], ["y"], axis=-1)], {"s": f32(1, 2, 3, 4, 5, 6)}),
    ("Dropout", 10, [node("Dropout", ["x"], ["y"], ratio=0.3)], {}),
    ("Dropout", 13, [node("Dropout", ["x"], ["y"])], {}),
    ("Flatten", 9, [node("Flatten", ["x"], ["y"], axis=2)], {}),
    ("Reshape", 13, [node("Reshape", ["x", "z"], ["y"])], {"z": i64(0, -1, 3)}),
    ("Expand", 13, [node("Expand", ["x", "z"], ["y"])], {"z": i64(3, 1, 1, 1, 6)}),
    ("Tile", 13, [node("Tile", ["x", "z"], ["y"])], {"z": i64(1, 2, 1, 3)}),
    ("Gather", 13, [node("Gather", ["x", "z"], ["y"], axis=1)], {"z": np.array([[3, -1], [0, 1]], np.int64)}),
    ("Gemm", 7, [node("Flatten", ["x"], ["m"]), node("Gemm", ["m", "m", "c"], ["y"], transB=1, alpha=0.5, beta=2.0)], {"c": f32(1, 2)}),
    ("Gemm", 13, [node("Flatten", ["x"], ["m"]), node("Gemm", ["m", "m"], ["y"], transA=1)], {}),
    ("MaxPool", 8, [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")], {}),
    ("MaxPool", 12, [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1, dilations=[2, 1])], {}),
    ("AveragePool", 10, [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}),
    ("AveragePool", 11, [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1)], {}),
    ("AveragePool", 19, [node("AveragePool", ["x"], ["y"], kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1)], {}),
    ("Conv", 11, [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 1])], {"w": np.ones((3, 4, 2, 2), np.float32)}),
    ("Conv", 11, [node("Conv", ["x", "w"], ["y"], group=4, dilations=[2, 2])], {"w": np.ones((8, 1, 2, 2), np.float32)}),
    ("ConvTranspose", 11, [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 0], pads=[1, 0, 0, 1], group=2)],
     {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}),
    ("ConvTranspose", 11, [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 3], output_shape=[13, 17])],
     {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}),
    ("DepthToSpace", 13, [node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="CRD")], {}),
    ("SpaceToDepth", 13, [node("SpaceToDepth", ["x"], ["y"], blocksize=2)], {}),
    ("Shape", 13, [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["c"]), node("Add", ["c", "x"], ["y"])], {}),
    ("Range", 13, [node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])],
     {"a": np.float32(3), "b": np.float32(0), "c": np.float32(-0.5)}),
    ("ArgMax", 13, [node("ArgMax", ["x"], ["y"], axis=-2, keepdims=0, select_last_index=1)], {}),
    ("Where", 9, [node("Less", ["x", "z"], ["c"]), node("Where", ["c", "z", "x"], ["y"])], {"z": np.zeros((4, 1, 1), np.float32)}),
    ("Cast", 9, [node("Cast", ["x"], ["i"], to=6), node("Cast", ["i"], ["y"], to=1)], {}),
    ("Pow", 13, [node("Pow", ["x", "two"], ["y"])], {"two": np.int64(2)}),
    ("PRelu", 9, [node("PRelu", ["x", "a"], ["y"])], {"a": np.float32([[[0.1]], [[0.2]], [[0.3]], [[0.4]]])}),
    ("HardSwish", 14, [node("HardSwish", ["x"], ["y"])], {}),
    ("HardSigmoid", 6, [node("HardSigmoid", ["x"], ["y"], alpha=0.3)], {}),
    ("Elu", 6, [node("Elu", ["x"], ["a"], alpha=0.5), node("LeakyRelu", ["a"], ["y"])], {}),
    ("Mean", 8, [node("Mean", ["x", "o", "x"], ["m"]), node("Max", ["m", "o"], ["a"]), node("Min", ["a", "x"], ["y"])], {"o": f32(0.5)}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "version", "nodes", "constants"), CASES, ids=[f"{case[0]}-{case[1]}-{i}" for i, case in enumerate(CASES)]
)
def test_as_onnx_runtime_has_it(
    operator: str, version: int, nodes: list[Any], constants: dict[str, np.ndarray],
    save_any: Callable[..., Path], onnxruntime_run: Callable[..., dict[str, np.ndarray]], close: Callable[..., float],
) -> None:  # fmt: skip
    dtype = "int64" if operator == "ArgMax" else "float32"
    path = save_any(nodes, [X], [("y", dtype)], constants, opset=version)
    graph = import_model(path)
    verify(graph)
    inputs = {"x": np.random.default_rng(1).standard_normal(X[2]).astype(np.float32)}
    close(run(graph, inputs), onnxruntime_run(path, inputs), 2e-6)
