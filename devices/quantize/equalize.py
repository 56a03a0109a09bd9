"""Cross-layer equalization: scales channels between two layers so that both have weights of one range in each channel.

Section 4.1 of Nagel et al. 2019 (arXiv:1906.04721). It holds where nothing, or a Relu, lies between the layers and nothing else reads
the value between them: f(s x) = s f(x) for s > 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from devices.quantize.network import Network
from devices.quantize.units import Layer, Unit

ROUNDS = 20
SMALLEST, LARGEST = 1e-3, 1e3
"""Bounds of a scale: channels that are nearly dead would ask for any."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two convolutions, one after the other."""

    first: Layer
    second: Layer


def pairs(network: Network, units: Sequence[Unit]) -> list[Pair]:
    """Every two convolutions that can be equalized, each weight used once in the network."""
    readers = {unit.layer.x: unit.layer for unit in units if unit.layer is not None}
    found = []
    for unit in units:
        if unit.layer is None or (unit.activation is not None and network.nodes[unit.activation].op_type != "Relu"):
            continue
        value = unit.outputs[0]
        second = readers.get(value)
        if second is None or network.only_user(value) != second.node:
            continue
        alone = all(len(network.users[name]) == 1 for layer in (unit.layer, second) for name in (layer.weight, layer.bias) if name)
        if alone and unit.layer.axis == second.axis == 0:
            found.append(Pair(unit.layer, second))
    return found


def equalized(network: Network, units: Sequence[Unit]) -> Network | None:
    """The network with its pairs equalized, in rounds until nothing changes; None where it has no pair."""
    found = pairs(network, units)
    if not found:
        return None
    weights = {name: np.array(network.constants[name]) for pair in found for layer in (pair.first, pair.second) for name in _names(layer)}
    for _ in range(ROUNDS):
        if max(_equalize(pair, weights) for pair in found) < 1e-3:
            break
    return network.with_constants(weights)


def _names(layer: Layer) -> list[str]:
    return [name for name in (layer.weight, layer.bias) if name]


def _equalize(pair: Pair, weights: dict[str, np.ndarray]) -> float:
    """Equalizes one pair in place; gives how far the largest scale was from 1."""
    first, second = weights[pair.first.weight], weights[pair.second.weight]
    outputs = first.shape[0]
    each = second.shape[1]
    # A grouped second layer reads channel g * each + i with weights [outputs of group g, i].
    by_input = np.abs(second).reshape(pair.second.group, -1, each, *second.shape[2:]).max(axis=(1, *range(3, second.ndim + 1))).reshape(-1)
    by_output = np.abs(first).reshape(outputs, -1).max(1)
    usable = (by_input > 0) & (by_output > 0)
    scale = np.ones(outputs)
    scale[usable] = np.clip(np.sqrt(by_output[usable].astype(np.float64) / by_input[usable]), SMALLEST, LARGEST)
    scale = scale.astype(np.float32)
    weights[pair.first.weight] = first / scale.reshape(-1, *(1,) * (first.ndim - 1))
    if pair.first.bias:
        weights[pair.first.bias] = weights[pair.first.bias] / scale
    spread = np.repeat(scale.reshape(pair.second.group, 1, each), second.shape[0] // pair.second.group, axis=1)
    weights[pair.second.weight] = second * spread.reshape(second.shape[0], each, *(1,) * (second.ndim - 2))
    return float(np.abs(scale - 1).max())
