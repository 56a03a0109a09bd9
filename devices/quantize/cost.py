"""What float32 costs beside uint8, estimated from sizes alone: the same on every machine.

Times are in multiply-adds of a uint8 product. The weights below are those of `native` on a processor with AVX2, rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.quantize.network import Network
from devices.quantize.placement import real_sums
from devices.quantize.units import Layer, Unit
from devices.quantize.weights import real_weight

DEPTHWISE = 5.0
"""A multiply-add of a depthwise convolution."""

FLOAT = 2.0
"""A multiply-add of float32 takes so many times as long, whatever the layer."""

ELEMENT = 30.0
"""An element of a sum in float32, beyond one of bytes; what its readers round it to included."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What float32 takes beyond uint8, as parts of what the whole network takes in uint8: `time` and `size` (bytes of weights) of each
    layer by name, and time of all `placement.real_sums`."""

    time: Mapping[str, float]
    size: Mapping[str, float]
    sums: float


def cost_of(network: Network, units: Sequence[Unit], elements: Mapping[str, int]) -> Cost:
    """Estimates, from how many `elements` values have."""
    layers = [(unit, unit.layer) for unit in units if unit.layer is not None]
    time = {layer.name: elements[unit.outputs[0]] * _each(network, layer) for unit, layer in layers}
    size = {layer.name: network.constants[layer.weight].size for _, layer in layers}
    sums = sum(ELEMENT * elements[unit.outputs[0]] for unit in real_sums(units))
    whole, weights = sum(time.values()) or 1.0, sum(size.values()) or 1
    return Cost(
        {name: (FLOAT - 1) * each / whole for name, each in time.items()}, {name: 3 * each / weights for name, each in size.items()},
        sums / whole,
    )  # fmt: skip


def _each(network: Network, layer: Layer) -> float:
    """What an element of a layer's result takes."""
    weight = real_weight(layer, network.constants[layer.weight])
    depthwise = layer.axis == 0 and layer.group > 1 and weight.shape[1] == 1
    return float(weight.size / weight.shape[layer.axis]) * (DEPTHWISE if depthwise else 1.0)
