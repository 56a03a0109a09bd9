"""Channel smoothing: scales the channels of stored values so that all of them use the 256 steps.

Values have one scale for all channels, so channels that stay small next to large ones are rounded to a few steps. Between layers with
nothing, a Relu, a Clip from 0 on or sums between them (the residual connections of a stage), channels are scaled for nothing: the layers
before divide by s, those behind multiply. A Clip then cuts each channel at a level of its own, which is kept above all that was seen.
Around a function of one value (SiLU, PReLU), the layer before divides by t and the function is f(x t) / s. A layer with a scale for each
output channel takes t without loss, and a depthwise layer s; for others s trades what activations gain for what weights lose, after
SmoothQuant (Xiao et al. 2023, arXiv:2211.10438), the power of each site taken by the noise that it leaves (`balance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.quantize.balance import balanced, by_input, relative
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
    """Layers, the values that they and sums of them give, and the layers that alone read those, or what a function of one gives.

    `behind` is empty where others read that as well.
    """

    before: tuple[Layer, ...]
    values: tuple[str, ...]
    behind: tuple[Layer, ...]
    function: Unit | None = None
    ceiling: float = np.inf
    """Where a Clip cuts."""


def sites(network: Network, units: Sequence[Unit]) -> list[Site]:
    """Every place where channels can be scaled."""
    makers = {name: unit for unit in units for name in unit.outputs}
    readers: dict[str, list[Unit]] = {}
    for unit in units:
        for name in unit.inputs:
            readers.setdefault(name, []).append(unit)
    found: list[Site] = []
    for unit in units:
        value = unit.outputs[0]
        if unit.layer is None or not _scalable(network, unit) or any(value in site.values for site in found):
            continue
        first = readers.get(value, [])
        if unit.activation is None and len(first) == 1 and first[0].kind == "function":
            if value not in network.outputs and set(network.users[value]) <= set(first[0].nodes):
                result = first[0].outputs[0]
                layers = [each.layer for each in readers.get(result, ()) if each.layer is not None and _scalable(network, each)]
                alone = {layer.node for layer in layers} == set(network.users.get(result, ())) and result not in network.outputs
                found.append(Site((unit.layer,), (value,), tuple(layers) if alone else (), first[0]))
        elif (site := _stream(network, value, makers, readers)) is not None:
            found.append(site)
    return found


def _stream(network: Network, value: str, makers: Mapping[str, Unit], readers: Mapping[str, list[Unit]]) -> Site | None:
    """The site of a value and all that sums tie to it; None where something else makes or reads one of these."""
    values, before, behind = [value], [], []
    ceilings = []
    for name in values:  # grows
        maker = makers.get(name)
        if maker is None or name in network.outputs or (ceiling := _ceiling(network, maker)) is None:
            return None
        users = readers.get(name, [])
        if set(network.users.get(name, ())) != {unit.nodes[0] for unit in users}:
            return None
        for unit in (maker, *users):
            if unit.kind == "sum":
                values += [each for each in (*unit.inputs, *unit.outputs) if each not in values]
            elif unit.layer is None or not _scalable(network, unit):
                return None
        if maker.layer is not None:
            before.append(maker.layer)
        ceilings.append(ceiling)
        behind += [unit.layer for unit in users if unit.layer is not None]
    shapes = [network.constants[layer.weight].shape for layer in before]
    broadcast = len({(shape[0], len(shape)) for shape in shapes}) > 1
    if not behind or broadcast or (len(values) > 1 and min(ceilings) < np.inf):
        return None
    return Site(tuple(before), tuple(values), tuple(dict.fromkeys(behind)), ceiling=min(ceilings))


def _scalable(network: Network, unit: Unit) -> bool:
    """Whether a unit is a layer with its channels first whose constants nothing else reads."""
    layer = unit.layer
    return layer is not None and layer.axis == 0 and all(len(network.users[name]) == 1 for name in (layer.weight, layer.bias) if name)


def _ceiling(network: Network, unit: Unit) -> float | None:
    """Where what a unit gives is cut above; None where its activation is no Relu and no Clip from 0 on."""
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
    found = [
        site for site in sites(network, units)
        if all(value in seen.highs for value in site.values) and (site.function is None or site.values[0] in steps)
    ]  # fmt: skip
    if not found:
        return None
    edit = _Edit(network)
    floors = {}
    for site in found:
        value, results = site.values[0], site.values
        if site.function is not None:
            results = site.function.outputs
            reach = np.minimum(-seen.lows[value], -steps[value].low)
            t = relative(np.maximum(seen.highs[value], reach), MOST)
            edit.scale_outputs(site.before[0], 1 / t)
            edit.multiply_input(site.function, t)
            floors[value] = float(-(reach / t).max())
        if not site.behind:
            continue
        weights = [(layer, edit.constants[layer.weight]) for layer in site.behind]
        least = ROOM * seen.peaks[value] / site.ceiling if site.function is None else np.zeros(1)
        s = balanced(weights, [seen.channels(result) for result in results], MOST, least)
        if site.function is not None:
            edit.multiply_output(site.function, 1 / s)
        for layer in site.before if site.function is None else ():
            edit.scale_outputs(layer, 1 / s)
        for layer in site.behind:
            edit.scale_inputs(layer, s)
    return Smoothed(edit.network(), floors)


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
        self.constants[layer.weight] = by_input(layer, self.constants[layer.weight], factors).astype(np.float32)

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
