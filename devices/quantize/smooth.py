"""Channel smoothing: scales the channels of stored values so that all of them use the 256 steps.

Values have one scale for all channels, so channels that stay small next to large ones are rounded to a few steps. Between two layers
with nothing, a Relu or a Clip from 0 on, channels are scaled for nothing: the layer before divides by s, the layers behind multiply. A
Clip then cuts each channel at a level of its own, which is kept above all that was seen. Around a function of one value (SiLU, PReLU),
the layer before divides by t and the function is f(x t) / s. A layer with a scale for each output channel takes t without loss, and a
depthwise layer s; for others s is the balance of SmoothQuant (Xiao et al. 2023, arXiv:2211.10438) between what activations and weights
lose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.quantize.network import Network, build
from devices.quantize.observe import Seen
from devices.quantize.ranges import Step
from devices.quantize.units import Layer, Unit

MOST = 64.0
"""The largest factor by which a channel is scaled."""

ROOM = 1.1
"""How far above all that was seen a Clip cuts."""


@dataclass(frozen=True, slots=True)
class Site:
    """A layer, and the layers that alone read what it gives, or what a function of it gives (none: others read that as well)."""

    before: Layer
    value: str
    behind: tuple[Layer, ...]
    function: Unit | None = None
    ceiling: float = np.inf
    """Where a Clip cuts."""


def sites(network: Network, units: Sequence[Unit]) -> list[Site]:
    """Every layer whose output channels can be scaled."""
    readers: dict[str, list[Unit]] = {}
    for unit in units:
        for name in unit.inputs:
            readers.setdefault(name, []).append(unit)

    def behind(value: str) -> tuple[Layer, ...]:
        layers = [each.layer for each in readers.get(value, ()) if each.layer is not None]
        alone = {layer.node for layer in layers} == set(network.users.get(value, ())) and value not in network.outputs
        return tuple(layers) if alone and all(layer.axis == 0 and _own(network, layer) for layer in layers) else ()

    found = []
    for unit in units:
        if unit.layer is None or unit.layer.axis != 0 or not _own(network, unit.layer):
            continue
        value, ceiling = unit.outputs[0], _ceiling(network, unit)
        first = readers.get(value, [])
        if unit.activation is None and len(first) == 1 and first[0].kind == "function":
            if value not in network.outputs and set(network.users[value]) <= set(first[0].nodes):
                found.append(Site(unit.layer, value, behind(first[0].outputs[0]), first[0]))
        elif ceiling is not None and (layers := behind(value)):
            found.append(Site(unit.layer, value, layers, ceiling=ceiling))
    return found


def _ceiling(network: Network, unit: Unit) -> float | None:
    """Where what a layer gives is cut above; None where its activation is no Relu and no Clip from 0 on."""
    if unit.activation is None:
        return np.inf
    node = network.nodes[unit.activation]
    if node.op_type == "Relu":
        return np.inf
    low, high = (network.constant(node.input[at]) if len(node.input) > at else None for at in (1, 2))
    if low is None or low.size != 1 or float(low.ravel()[0]) != 0:
        return None
    return np.inf if high is None else float(high.ravel()[0])


@dataclass(frozen=True)
class Smoothed:
    """The network, and for its functions' values the least that matters: what lies below makes nearly the same of the function."""

    network: Network
    floors: Mapping[str, float]


def smoothed(network: Network, units: Sequence[Unit], seen: Seen, steps: Mapping[str, Step]) -> Smoothed | None:
    """The network with the channels of all sites scaled; None where there is none. `steps` are those of the functions' values."""
    found = [site for site in sites(network, units) if site.value in seen.highs and (site.function is None or site.value in steps)]
    if not found:
        return None
    edit = _Edit(network)
    floors = {}
    for site in found:
        value, result = site.value, site.value
        if site.function is not None:
            result = site.function.outputs[0]
            reach = np.minimum(-seen.lows[value], -steps[value].low)
            t = _relative(np.maximum(seen.highs[value], reach))
            edit.scale_outputs(site.before, 1 / t)
            edit.multiply_input(site.function, t)
            floors[value] = float(-(reach / t).max())
        if site.behind:
            s = _balance(site.behind, edit.constants, _relative(np.maximum(seen.highs[result], -seen.lows[result])))
            if site.function is not None:
                edit.multiply_output(site.function, 1 / s)
            else:
                s = np.minimum(1.0, np.maximum(s, ROOM * seen.peaks[value] / site.ceiling))
                edit.scale_outputs(site.before, 1 / s)
            for layer in site.behind:
                edit.scale_inputs(layer, s)
    return Smoothed(edit.network(), floors)


def _relative(sizes: np.ndarray) -> np.ndarray:
    """Sizes of channels as parts of the largest, none below 1 / MOST."""
    largest = sizes.max()
    return np.asarray(np.clip(sizes / largest, 1 / MOST, 1.0)) if largest > 0 else np.ones(sizes.shape)


def _balance(layers: Sequence[Layer], constants: Mapping[str, np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """What channels of these sizes are divided by."""
    loss = np.zeros(sizes.shape)
    for layer in layers:
        weight = np.abs(constants[layer.weight])
        if weight.shape[1] > 1 or layer.group == 1:
            rows = weight / np.maximum(weight.max(axis=tuple(range(1, weight.ndim)), keepdims=True), 1e-30)
            each = rows.reshape(layer.group, -1, weight.shape[1], *weight.shape[2:]).max(axis=(1, *range(3, weight.ndim + 1)))
            loss = np.maximum(loss, each.reshape(-1))
    return sizes if not loss.any() else _relative(np.sqrt(sizes / np.maximum(loss, 1e-3)))


def _own(network: Network, layer: Layer) -> bool:
    """Whether nothing else reads the layer's constants."""
    return all(len(network.users[name]) == 1 for name in (layer.weight, layer.bias) if name)


class _Edit:
    """A network in which channels are being scaled."""

    def __init__(self, network: Network) -> None:
        self.old = network
        self.constants = {name: np.array(array) for name, array in network.constants.items()}
        self._nodes = {index: [_copy(node)] for index, node in enumerate(network.nodes)}
        self._count = 0

    def scale_outputs(self, layer: Layer, factors: np.ndarray) -> None:
        """Multiplies what a layer gives."""
        weight = self.constants[layer.weight]
        self.constants[layer.weight] = (weight * factors.reshape(-1, *(1,) * (weight.ndim - 1))).astype(np.float32)
        if layer.bias:
            self.constants[layer.bias] = (self.constants[layer.bias] * factors).astype(np.float32)

    def scale_inputs(self, layer: Layer, factors: np.ndarray) -> None:
        """Multiplies what a layer reads."""
        weight = self.constants[layer.weight]
        spread = np.repeat(factors.reshape(layer.group, 1, weight.shape[1]), weight.shape[0] // layer.group, axis=1)
        self.constants[layer.weight] = (weight * spread.reshape(*weight.shape[:2], *(1,) * (weight.ndim - 2))).astype(np.float32)

    def multiply_input(self, unit: Unit, factors: np.ndarray) -> None:
        """Gives a function its value times these factors."""
        value = unit.inputs[0]
        name = f"{value}/smooth"
        for index in unit.nodes:
            node = self._nodes[index][-1]
            for at, read in enumerate(node.input):
                if read == value:
                    node.input[at] = name
        self._nodes[self.old.makers[value]].append(self._product(value, factors, name, value))

    def multiply_output(self, unit: Unit, factors: np.ndarray) -> None:
        """Gives on a function's result times these factors."""
        result = unit.outputs[0]
        name = f"{result}/rough"
        made = self._nodes[self.old.makers[result]]
        node = made[-1]
        node.output[list(node.output).index(result)] = name
        made.append(self._product(name, factors, result, result))

    def network(self) -> Network:
        import onnx
        from onnx import numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self.old.model)
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(node for index in sorted(self._nodes) for node in self._nodes[index])
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self.constants.items())
        return build(model, self.old.path)

    def _product(self, value: str, factors: np.ndarray, result: str, like: str) -> Any:
        from onnx import helper

        rank = len(self.old.shapes.get(like, (1, 1, 1, 1)))
        name = f"smooth/{self._count}"
        self._count += 1
        self.constants[name] = factors.astype(np.float32).reshape(1, -1, *(1,) * (rank - 2))
        return helper.make_node("Mul", [value, name], [result], name=f"{result}/scale")


def _copy(node: Any) -> Any:
    other = type(node)()
    other.CopyFrom(node)
    return other
