"""Bias correction: takes mean errors out of biases.

After section 4.2 of Nagel et al. 2019 (arXiv:1906.04721), with means that were measured: what rounding its weights does to a layer,
E[y'] - E[y] = (W' - W) E[x], and for the last layers all that the quantized model does to what they give.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from devices.quantize.execute import Feed, Runner
from devices.quantize.network import Network
from devices.quantize.observe import of_channels
from devices.quantize.units import Layer, Unit
from devices.quantize.weights import StoredWeights


def shift_of(layer: Layer, real: np.ndarray, stored: StoredWeights, means: np.ndarray) -> np.ndarray:
    """The mean error [outputs], float64, for inputs with these means [channels]."""
    error = stored.real.astype(np.float64) - real
    if layer.axis == 1:
        return np.asarray(means @ error)
    outputs, each = error.shape[:2]
    summed = error.reshape(outputs, each, -1).sum(2)
    groups = np.repeat(means.reshape(layer.group, each), outputs // layer.group, axis=0)
    return np.asarray((summed * groups).sum(1))


def last_layers(network: Network, units: Sequence[Unit]) -> list[Unit]:
    """Layers with a bias and no activation behind which no other layer comes."""
    before: set[str] = set()
    found = []
    for node in reversed(range(len(network.nodes))):
        ends = [unit for unit in units if unit.layer is not None and unit.nodes[-1] == node]
        last = not before.intersection(network.nodes[node].output)
        found += [unit for unit in ends if last and unit.activation is None and network.nodes[node].op_type != "MatMul"]
        if ends or not last:
            before.update(network.nodes[node].input)
    return found[::-1]


def shifts_of(last: Sequence[Unit], real: Runner, quantized: Any, feeds: Iterable[Feed], *, threads: int = 1) -> dict[str, np.ndarray]:
    """For the last layers by name the mean error [outputs], float64, of what they give in a quantized model. `real` exposes that too."""
    values = {unit.outputs[0]: unit.layer.name for unit in last if unit.layer is not None}
    runner = Runner(quantized, values=list(values), threads=threads)
    sums = dict.fromkeys(values.values(), np.zeros(1))
    count = 0
    for feed in feeds:
        count += 1
        told = dict(real.fetch(list(values), feed))
        for name, given in runner.fetch(list(values), feed):
            sums[values[name]] = sums[values[name]] + of_channels(given)[0] - of_channels(told[name])[0]
    return {name: total / max(count, 1) for name, total in sums.items()}
