"""What of a network can be quantized: layers, sums, products, means, moves, joins and functions of one value.

A unit reads and gives stored values; nothing inside it is rounded. A convolution with its Relu or Clip is one unit, and so is what an
exporter writes as several operators over one value, such as x * sigmoid(x).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from devices.quantize.network import Network

Kind = Literal["layer", "sum", "product", "mean", "move", "join", "function"]

FUNCTIONS = frozenset({
    "Abs", "Add", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu",
    "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softplus",
    "Softsign", "Sqrt", "Sub", "Tanh",
})  # fmt: skip
"""Operators that work on each element apart."""

MOVES = frozenset({
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that give elements of their input as they are."""


KINDS: Mapping[str, Kind] = {"Add": "sum", "Mul": "product"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or product with constant weights. `axis`: where the weight has its output channels. `bias`: its name, or empty."""

    name: str
    node: int
    x: str
    weight: str
    bias: str
    axis: int
    group: int = 1
    turned: bool = False
    """A Gemm with transB: its weight is turned when it is written, so that `axis` is 1."""
    scale: float = 1.0
    """alpha of a Gemm."""


@dataclass(frozen=True, slots=True)
class Unit:
    """`nodes` in order; `inputs` are what is read stored, `outputs` what is given stored."""

    kind: Kind
    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: Layer | None = None
    activation: int | None = None


def find_units(network: Network) -> tuple[Unit, ...]:
    """All units, in the order of what they give. A node of several functions of one value belongs to each of them."""
    units = [unit for index in range(len(network.nodes)) if (unit := _plain(network, index))]
    functions = _Functions(network, {node for unit in units for node in unit.nodes})
    units += functions.units()
    for index, node in enumerate(network.nodes):
        if functions.joins_two(index):
            inputs, kind = network.data_inputs(index), KINDS[node.op_type]
            units.append(_activated(network, kind, index, inputs) if kind == "sum" else Unit(kind, (index,), inputs, (node.output[0],)))
    return tuple(sorted(units, key=lambda unit: unit.nodes[-1]))


def _plain(network: Network, index: int) -> Unit | None:
    """The unit that begins at a node, functions of one value apart."""
    node = network.nodes[index]
    if node.domain not in ("", "ai.onnx"):
        return None
    if (layer := _layer(network, index)) is not None:
        return _activated(network, "layer", index, (layer.x,), layer)
    data = network.data_inputs(index)
    match node.op_type:
        case "GlobalAveragePool" | "AveragePool" if len(data) == 1:
            return Unit("mean", (index,), data, (node.output[0],))
        case "Concat" if len(data) == len(node.input):
            return Unit("join", (index,), tuple(dict.fromkeys(data)), (node.output[0],))
        case _ if _moves(network, index) and len(data) == 1 and node.input[0] == data[0]:
            outputs = tuple(name for name in node.output if name)
            return Unit("move", (index,), data, outputs) if node.op_type != "MaxPool" or len(outputs) == 1 else None
        case _:
            return None


def _moves(network: Network, index: int) -> bool:
    node = network.nodes[index]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Resize":
        return "mode" not in attributes or attributes["mode"].s == b"nearest"
    if node.op_type == "Pad":
        value = network.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        return len(node.input) < 3 or not node.input[2] or (value is not None and not value.any())
    return node.op_type in MOVES


def _layer(network: Network, index: int) -> Layer | None:
    node = network.nodes[index]
    if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2:
        return None
    x, weight = node.input[0], network.constant(node.input[1])
    if x in network.constants or weight is None or weight.dtype != np.float32 or not weight.size or not np.isfinite(weight).all():
        return None
    bias = node.input[2] if len(node.input) > 2 else ""
    told = network.constant(bias)
    numbers = {attribute.name: attribute for attribute in node.attribute}
    whole = {name: attribute.i for name, attribute in numbers.items()}
    match node.op_type:
        case "Conv" if not bias or told is not None:
            return Layer(node.name, index, x, node.input[1], bias, 0, max(1, whole.get("group", 1)))
        case "MatMul" if weight.ndim == 2:
            return Layer(node.name, index, x, node.input[1], "", 1)
        case "Gemm" if not whole.get("transA", 0) and weight.ndim == 2:
            turned = bool(whole.get("transB", 0))
            columns = weight.shape[0 if turned else 1]
            alpha, beta = (numbers[name].f if name in numbers else 1.0 for name in ("alpha", "beta"))
            if beta == 1 and (not bias or (told is not None and told.size == columns and told.shape[-1] == columns)):
                return Layer(node.name, index, x, node.input[1], bias, 1, turned=turned, scale=alpha)
    return None


def _activated(network: Network, kind: Kind, index: int, inputs: tuple[str, ...], layer: Layer | None = None) -> Unit:
    """The unit with the Relu or Clip behind it, which needs no rounding before it."""
    value = network.nodes[index].output[0]
    user = _activation(network, value)
    if user is None:
        return Unit(kind, (index,), inputs, (value,), layer)
    return Unit(kind, (index, user), inputs, (network.nodes[user].output[0],), layer, user)


def _activation(network: Network, value: str) -> int | None:
    """The Relu or Clip that alone reads a value."""
    user = network.only_user(value)
    fits = user is not None and network.nodes[user].op_type in ("Relu", "Clip") and network.data_inputs(user) == (value,)
    return user if fits else None


class _Functions:
    """Functions of one value, from a value that is stored to the next one that something else reads.

    `roots` has for each value the one that it is a function of: itself for a `stop` and for what is a function of none.
    """

    def __init__(self, network: Network, inside: set[int]) -> None:
        self.network, self.inside = network, inside
        self.stops: set[str] = set()
        self.roots: dict[str, str] = {}
        while True:
            self.roots = {}
            for index, node in enumerate(network.nodes):
                source = self._source(index)
                self.roots |= {name: name if source is None or name in self.stops else source for name in node.output}
            more = {value for value, root in self.roots.items() if value != root and self._leaves(value)}
            if not more:
                return
            self.stops |= more

    def units(self) -> list[Unit]:
        return [self._unit(value) for value in sorted(self.stops, key=lambda value: self.network.makers[value]) if self._is_function(value)]

    def joins_two(self, index: int) -> bool:
        """Whether a node adds or multiplies two values that are no functions of one."""
        node = self.network.nodes[index]
        plain = node.domain in ("", "ai.onnx") and node.op_type in KINDS and index not in self.inside
        return plain and len(set(self.network.data_inputs(index))) == 2 and self._source(index) is None

    def _is_function(self, value: str) -> bool:
        return self._source(self.network.makers[value]) is not None

    def _source(self, index: int) -> str | None:
        """The one value that a node's result is a function of."""
        network, node = self.network, self.network.nodes[index]
        if index in self.inside or node.op_type not in FUNCTIONS or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            return None
        data = network.data_inputs(index)
        if len(data) == 1 and (maker := network.makers.get(data[0])) is not None:
            added = network.nodes[maker].op_type == "Add" and self.joins_two(maker)
            if added and _activation(network, data[0]) == index:
                return None  # it belongs to the sum
        sources = {self.roots.get(name, name) for name in data}
        return sources.pop() if len(sources) == 1 else None

    def _leaves(self, value: str) -> bool:
        """Whether something other than functions of the same value reads it."""
        users = self.network.users.get(value, ())
        return value in self.network.outputs or any(self._source(user) != self.roots[value] for user in users)

    def _unit(self, value: str) -> Unit:
        """The nodes that make a value, back to the value that they start from."""
        waiting, nodes, source = [self.network.makers[value]], set(), value
        while waiting:
            index = waiting.pop()
            if index in nodes:
                continue
            nodes.add(index)
            for name in self.network.data_inputs(index):
                if self.roots.get(name, name) == name:
                    source = name
                else:
                    waiting.append(self.network.makers[name])
        return Unit("function", tuple(sorted(nodes)), (source,), (value,))
