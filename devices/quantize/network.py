"""A float model made ready for quantization: operator set 13 or later, constants folded, batch norms inside the convolutions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from devices import onnx_file
from devices.engine import EngineError
from devices.engines.onnxruntime import library
from devices.onnx_file import OnnxFile

OPSET = 13
"""The first operator set whose QuantizeLinear and DequantizeLinear have one scale for each channel."""

MAX_BYTES = 2**30
"""Bytes of all tensors of a model. It is held several times over while it is quantized."""

QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QGemm")


@dataclass(frozen=True)
class Network:
    """The main graph: its nodes in order, each with a name of its own, and its constants as arrays.

    `makers` has the node that gives a value, `users` the nodes that read it. `shapes` are the dimensions that are known, 1 for open ones.
    """

    model: Any
    path: Path
    nodes: tuple[Any, ...]
    constants: Mapping[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    makers: Mapping[str, int] = field(repr=False)
    users: Mapping[str, tuple[int, ...]] = field(repr=False)

    def data_inputs(self, node: int) -> tuple[str, ...]:
        """What a node reads that is no constant."""
        return tuple(name for name in self.nodes[node].input if name and name not in self.constants)

    def only_user(self, value: str) -> int | None:
        """The node that alone reads a value which is no output."""
        users = self.users.get(value, ())
        return users[0] if len(users) == 1 and value not in self.outputs else None

    def constant(self, name: str) -> np.ndarray | None:
        """The elements of a constant; None for what is none."""
        return self.constants.get(name) if name else None

    def with_constants(self, changed: Mapping[str, np.ndarray]) -> Network:
        """The same graph over other constants."""
        return replace(self, constants={**self.constants, **changed})


def read_network(path: Path) -> Network:
    """Reads a float32 model and simplifies it.

    Raises EngineError for a file that `onnx_file.read` refuses, a model that is quantized already, has inputs of another type than
    float32, holds more than `MAX_BYTES`, or that ONNX Runtime cannot load.
    """
    file = onnx_file.read(path)
    _check(file)
    return build(_simplified(file), path)


def build(model: Any, path: Path) -> Network:
    """The network of a simplified model. Its nodes are named after what they give where they have no name."""
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes, taken = [], set()
    for node in graph.node:
        name = node.name or next((each for each in node.output if each), node.op_type)
        while name in taken:
            name += "'"
        taken.add(name)
        node.name = name
        nodes.append(node)
    users: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in dict.fromkeys(node.input):
            users.setdefault(name, []).append(index)
    return Network(
        model, path, tuple(nodes), constants,
        tuple(value.name for value in graph.input if value.name not in constants), tuple(value.name for value in graph.output),
        _shapes(graph), {name: index for index, node in enumerate(nodes) for name in node.output if name},
        {name: tuple(found) for name, found in users.items()},
    )  # fmt: skip


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
    }


def _check(file: OnnxFile) -> None:
    from onnx import TensorProto

    for node in file.nodes():
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            raise EngineError(
                f"{file.path}: expected a float32 model, got one that is quantized already (it has {node.op_type}); give the float model"
            )
    constants = {tensor.name for tensor in file.model.graph.initializer}
    for value in file.model.graph.input:
        told = value.type.tensor_type.elem_type
        if value.name not in constants and told != TensorProto.FLOAT:
            name = TensorProto.DataType.Name(told).lower() if told in TensorProto.DataType.values() else str(told)
            raise EngineError(
                f"{file.path}: input {value.name!r}: expected float32, got {name}; export the model in float32, with the cast left out"
            )
    total = file.path.stat().st_size + sum(path.stat().st_size for path in file.external)
    if total > MAX_BYTES:
        raise EngineError(f"{file.path}: expected a model of at most {MAX_BYTES} bytes, got {total}")


def _simplified(file: OnnxFile) -> Any:
    """The model after ONNX Runtime's basic passes, which keep to ONNX's own operators."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    if file.external:
        onnx.external_data_helper.load_external_data_for_model(model, str(file.path.parent))
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]  # a constant that is an input as well could be replaced
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model = _raised(file.path, model)
    onnxruntime = library()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="ace-quantize-") as folder:
        target = Path(folder) / "simple.onnx"
        options.optimized_model_filepath = str(target)
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"{file.path}: expected a model that ONNX Runtime can load, got: {reason}") from error
        simple = onnx.load(target)
    used = {node.domain for node in simple.graph.node} | {""}
    opsets = [entry for entry in simple.opset_import if entry.domain in used]
    del simple.opset_import[:]
    simple.opset_import.extend(opsets)
    return simple


def _raised(path: Path, model: Any) -> Any:
    """The model in operator set 13 where it is in an older one."""
    from onnx import version_converter

    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise EngineError(
            f"{path}: expected a model that can be raised from operator set {version} to {OPSET}, got: {reason}; "
            f"export it with operator set {OPSET} or later"
        ) from error
