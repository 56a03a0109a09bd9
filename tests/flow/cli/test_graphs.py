from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from devices import ModelInfo
from devices.model import inspect
from flow.cli.bench import show_floats
from flow.cli.graphs import document, graphs, text

WHY = "not all of its inputs are quantized to 8 bits with one scale"


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """A sum of which only one input is quantized."""
    constants = {"s": np.float32(0.05), "z": np.uint8(3)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["stored"], "quantize"),
        helper.make_node("DequantizeLinear", ["stored", "s", "z"], ["real"], "dequantize"),
        helper.make_node("Add", ["real", "x"], ["sum"], "total"),
        helper.make_node("QuantizeLinear", ["sum", "s", "z"], ["given"], "quantize again"),
        helper.make_node("DequantizeLinear", ["given", "s", "z"], ["y"], "dequantize again"),
    ]
    ports = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 16])] for name in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", *ports, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_layers_of_a_quantized_model_that_run_in_float32_are_told(quantized: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = inspect(quantized)
    found = graphs(ModelInfo("model", "1.0.0", quantized, seen.digest, seen.inputs, seen.outputs), "native", "")
    told = json.loads(json.dumps(document(found)))
    assert told["native"]["float_layers"] == [{"op": "Binary add", "name": "total", "why": WHY}]
    line = f"in float32 though the model is quantized: Binary add (total): {WHY}"
    assert f"  {line}" in text(found)
    show_floats(quantized, {})
    assert capsys.readouterr().out == f"{line}\n"
