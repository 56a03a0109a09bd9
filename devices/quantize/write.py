"""The quantized model: standard ONNX with QuantizeLinear and DequantizeLinear around what is computed on bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.quantize.network import Network
from devices.quantize.placement import Placement
from devices.quantize.ranges import Step
from devices.quantize.units import Layer, Unit
from devices.quantize.weights import Fitted, real_weight, store_bias, weight_noise_ratio

__all__ = ["Written", "write"]

PRODUCER = "ACE"


@dataclass(frozen=True)
class Written:
    """The model, and for each quantized layer its weights' signal over noise in dB."""

    model: Any
    weights: Mapping[str, float]


def write(network: Network, placement: Placement, steps: Mapping[str, Step], store: Callable[[Layer, float], Fitted]) -> Written:
    """The model with values stored as `placement` says, in the `steps` of their groups.

    `store` gives a layer's weights and bias for the scale of its input.
    """
    writer = _Writer(network, placement, steps, store)
    return Written(writer.model(), writer.ratios)


class _Writer:
    def __init__(self, network: Network, placement: Placement, steps: Mapping[str, Step], store: Callable[[Layer, float], Fitted]) -> None:
        self.network, self.placement, self.steps, self.store = network, placement, steps, store
        self.ratios: dict[str, float] = {}
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._names = {*network.constants, *network.inputs, *network.users, *network.makers, *(node.name for node in network.nodes)}
        self._shared: dict[int, str] = {}
        self._parameters: dict[tuple[float, int], tuple[str, str]] = {}

    def model(self) -> Any:
        """Every node with what is stored around it."""
        import onnx
        from onnx import numpy_helper

        placement = self.placement
        members: dict[int, list[Unit]] = {}
        for unit in placement.units:
            for index in unit.nodes:
                members.setdefault(index, []).append(unit)
        taken = {name: self._pair(name, name) for name in self.network.inputs if name in placement.taken}
        for index, source in enumerate(self.network.nodes):
            node = type(source)()
            node.CopyFrom(source)
            for unit in members.get(index, ()):
                self._rewire(node, unit, taken)
            given = [(at, name) for at, name in enumerate(node.output) if name in placement.given]
            for at, name in given:
                node.output[at] = self._fresh(f"{name}/real")
            self.nodes.append(node)
            for at, name in given:
                self._pair(node.output[at], name, gives=name)
            taken |= {name: self._pair(name, name) for name in node.output if name in placement.taken}
        model = onnx.ModelProto()
        model.CopyFrom(self.network.model)
        graph = model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input} | set(self.network.outputs)
        read |= _captured(self.nodes)
        constants = {**self.network.constants, **self.constants}
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items() if name in read)
        model.producer_name, model.producer_version = PRODUCER, ""
        return model

    def _rewire(self, node: Any, unit: Unit, taken: Mapping[str, str]) -> None:
        """Reads stored values and weights in place of real ones."""
        for at, name in enumerate(node.input):
            if name in unit.inputs:
                if (unit.outputs[0], name) in self.placement.rescaled:
                    node.input[at] = self._pair(taken.get(name, name), unit.outputs[0])
                else:
                    node.input[at] = taken.get(name, name)
        if unit.layer is not None and self.network.nodes[unit.layer.node].name == node.name:
            self._layer(node, unit.layer)

    def _pair(self, value: str, group_of: str, *, gives: str = "") -> str:
        """Quantizes a value and dequantizes it again, with the scale of the group of `group_of`; gives the result's name."""
        from onnx import helper

        scale, zero = self._parameters_of(self.steps[self.placement.groups[group_of]])
        stored, result = self._fresh(f"{gives or value}/stored"), gives or self._fresh(f"{value}/dequantized")
        self.nodes.append(helper.make_node("QuantizeLinear", [value, scale, zero], [stored], name=self._fresh(f"{stored}/quantize")))
        self.nodes.append(helper.make_node("DequantizeLinear", [stored, scale, zero], [result], name=self._fresh(f"{stored}/dequantize")))
        return result

    def _parameters_of(self, step: Step) -> tuple[str, str]:
        key = (step.scale, step.zero)
        if key not in self._parameters:
            number = len(self._parameters)
            self._parameters[key] = (
                self._constant(f"scale/{number}", np.array(step.scale, np.float32)),
                self._constant(f"zero/{number}", np.array(step.zero, np.uint8)),
            )
        return self._parameters[key]

    def _layer(self, node: Any, layer: Layer) -> None:
        """Gives a layer int8 weights and an int32 bias."""
        real = real_weight(layer, self.network.constants[layer.weight])
        x_scale = self.steps[self.placement.groups[layer.x]].scale
        fitted = self.store(layer, x_scale)
        stored, bias = fitted.weights, fitted.bias
        self.ratios[layer.name] = weight_noise_ratio(real, stored)
        node.input[1] = self._dequantized(f"{layer.name}/weight", stored.weight, stored.scales, stored.axis)
        self._plain(node)
        if bias is not None:
            steps = np.float32(x_scale) * stored.scales
            name = self._dequantized(f"{layer.name}/bias", store_bias(bias, steps), steps, 0)
            del node.input[2:]
            node.input.append(name)

    def _plain(self, node: Any) -> None:
        """A Gemm whose weight is stored turned and scaled."""
        kept = [attribute for attribute in node.attribute if attribute.name not in ("alpha", "beta", "transA", "transB")]
        if node.op_type == "Gemm":
            del node.attribute[:]
            node.attribute.extend(kept)

    def _dequantized(self, name: str, stored: np.ndarray, scales: np.ndarray, axis: int) -> str:
        from onnx import helper

        inputs = [
            self._constant(f"{name}/stored", stored),
            self._constant(f"{name}/scale", scales.astype(np.float32)),
            self._zeros(name, stored.dtype, len(scales)),
        ]
        result = self._fresh(name)
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [result], name=self._fresh(f"{name}/dequantize"), axis=axis))
        return result

    def _zeros(self, name: str, dtype: Any, count: int) -> str:
        """Zero points. ONNX Runtime fails on two weights that share theirs, and on a layer whose output stays float without any; biases may
        share."""
        if dtype == np.int8:
            return self._constant(f"{name}/zero", np.zeros(count, dtype))
        if count not in self._shared:
            self._shared[count] = self._constant(f"zeros/{count}", np.zeros(count, dtype))
        return self._shared[count]

    def _constant(self, name: str, array: np.ndarray) -> str:
        name = self._fresh(name)
        self.constants[name] = array
        return name

    def _fresh(self, name: str) -> str:
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name


def _captured(nodes: list[Any]) -> set[str]:
    """What the bodies of control flow read."""
    found: set[str] = set()
    waiting = [attribute.g for node in nodes for attribute in node.attribute if attribute.HasField("g")]
    while waiting:
        graph = waiting.pop()
        for node in graph.node:
            found.update(node.input)
            waiting += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        found.update(value.name for value in graph.output)
    return found
