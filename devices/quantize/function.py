"""Functions of one value, evaluated alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from devices.quantize.execute import Runner
from devices.quantize.network import Network
from devices.quantize.ranges import Function
from devices.quantize.units import Unit


def functions_of(network: Network, units: Sequence[Unit]) -> dict[str, Function]:
    """The function of each value that one function alone reads, the same for all elements."""
    found: dict[str, Function] = {}
    for unit in units:
        if unit.kind != "function":
            continue
        value = unit.inputs[0]
        alone = value not in network.outputs and set(network.users[value]) <= set(unit.nodes)
        constants = {name for index in unit.nodes for name in network.nodes[index].input if name in network.constants}
        if alone and all(network.constants[name].size <= 1 for name in constants):
            found[value] = _evaluated(network, unit, sorted(constants))
    return found


def _evaluated(network: Network, unit: Unit, constants: Sequence[str]) -> Function:
    held: list[Runner] = []

    def function(values: np.ndarray) -> np.ndarray:
        if not held:
            held.append(Runner(_model(network, unit, constants)))
        return held[0].run({unit.inputs[0]: values})[unit.outputs[0]]

    return function


def _model(network: Network, unit: Unit, constants: Sequence[str]) -> Any:
    """The unit as a model of its own over a list of numbers."""
    from onnx import TensorProto, helper, numpy_helper

    scalars = [numpy_helper.from_array(network.constants[name].reshape(()), name) for name in constants]
    graph = helper.make_graph(
        [network.nodes[index] for index in unit.nodes], "function",
        [helper.make_tensor_value_info(unit.inputs[0], TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info(unit.outputs[0], TensorProto.FLOAT, ["n"])], scalars,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=list(network.model.opset_import), ir_version=network.model.ir_version)
