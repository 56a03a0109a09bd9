"""A model's graph as its file has it, and as the engine compiled it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devices import ModelInfo

GraphNode = dict[str, Any]
"""`op`, `name`, `inputs` (names), `outputs` (name -> dtype and shape in words, empty where unknown)."""


def before(model: ModelInfo) -> list[GraphNode]:
    """The nodes of the file, in its order. Raises EngineError."""
    from devices import onnx_file

    return _nodes(onnx_file.read(model.path).model, model)


def after(model: ModelInfo) -> list[GraphNode]:
    """The nodes that ONNX Runtime runs, after folding, fusing and changing layouts for this processor. Raises EngineError."""
    import onnx
    import onnxruntime

    from devices import EngineError

    with tempfile.TemporaryDirectory(prefix="ace-graph-") as folder:
        compiled = Path(folder) / "compiled.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(compiled)
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        for name, size in model.dims:
            options.add_free_dimension_override_by_name(name, size)
        try:
            onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineError(f"{model.path}: ONNX Runtime cannot compile it: {error}") from error
        return _nodes(onnx.load(compiled), model)


def _nodes(file: Any, model: ModelInfo) -> list[GraphNode]:
    """The main graph's nodes, with shapes as far as they can be inferred."""
    import onnx

    sizes = dict(model.dims)
    for value in file.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    with suppress(Exception):  # the engine's own operators have no inference: then only what is known already is shown
        file = onnx.shape_inference.infer_shapes(file)
    known = {value.name: _words(value, onnx) for value in (*file.graph.value_info, *file.graph.output)}
    constants = {tensor.name for tensor in file.graph.initializer}
    return [
        {
            "op": node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
            "name": node.name,
            "inputs": [name for name in node.input if name and name not in constants],
            "outputs": {name: known.get(name, "") for name in node.output if name},
        }
        for node in file.graph.node
    ]


def _words(value: Any, onnx: Any) -> str:
    tensor = value.type.tensor_type
    if not tensor.elem_type:
        return ""
    shape = "x".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}[{shape}]"


def text(model: ModelInfo) -> list[str]:
    """Both graphs as lines: how many nodes of which operator, then every node."""
    return [
        f"{model.name}@{model.version}, {model.path.name}: as in the file",
        *_listed(before(model)),
        "",
        f"{model.name}@{model.version}: as ONNX Runtime compiled it here",
        *_listed(after(model)),
    ]


def _listed(nodes: Sequence[GraphNode]) -> list[str]:
    from flow.cli.table import plain

    counted = ", ".join(f"{number} {op}" for op, number in Counter(node["op"] for node in nodes).most_common())
    rows = [
        [node["op"], ", ".join(node["inputs"]), ", ".join(f"{name} {words}".strip() for name, words in node["outputs"].items())]
        for node in nodes
    ]
    return [f"{len(nodes)} nodes: {counted}", "", *(f"  {line}" for line in plain(("operator", "reads", "gives"), rows))]
