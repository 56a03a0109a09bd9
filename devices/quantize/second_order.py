"""Each layer's weights rounded so that the error of what it gives is least over the inputs that it was seen to read (`rounding`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from devices.quantize.execute import Feed, Runner
from devices.quantize.network import Network
from devices.quantize.patches import patches
from devices.quantize.rounding import damped, descended, error_of, factor, rounded
from devices.quantize.units import Layer
from devices.quantize.weights import StoredWeights, partners_of, real_weight, store_weights

PLACES = 2**13
"""About so many places of a layer's output are looked at, over all samples."""

SMALLER = 0.9
"""Part of the scale that holds the largest weight which is tried as well: what is cut off, the other weights take up."""


def grams(
    network: Network, layers: Sequence[Layer], runner: Runner, feeds: Sequence[Feed], number: int
) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
    """For each layer the sum of x x^T over places of one sample, float32 [groups, columns, columns], x what its weights multiply."""
    by_input: dict[str, list[Layer]] = {}
    for layer in layers:
        by_input.setdefault(layer.x, []).append(layer)
    feed = feeds[number]
    given = ((name, feed[name]) for name in by_input if name in feed)
    fetched = runner.fetch([name for name in by_input if name not in feed], feed)
    for values in (given, fetched):
        for name, x in values:
            for layer in by_input[name]:
                taps = real_weight(layer, network.constants[layer.weight]).shape[2:]
                rows = patches(network.nodes[layer.node], layer, taps, x, -(-PLACES // len(feeds)), number)
                yield layer.name, np.swapaxes(rows, 1, 2) @ rows


def round_weights(layer: Layer, weight: np.ndarray, gram: np.ndarray, *, pair_safe: bool) -> StoredWeights:
    """The weights (of `real_weight`) with the scales, of a few for each output, that leave the least error.

    `gram` is a sum of `grams`. No output has a larger error than with `store_weights`.
    """
    groups, columns = gram.shape[:2]
    moved = np.moveaxis(weight, layer.axis, 0)
    exact = moved.reshape(groups, -1, columns).astype(np.float64)
    gram = damped(gram)
    upper, partners = factor(gram), partners_of(layer, weight) if pair_safe else [np.zeros(0, np.int64)] * columns
    safe, plain = (store_weights(layer, weight, None, 1.0, pair_safe=each) for each in (pair_safe, False))
    best = np.moveaxis(safe.weight, layer.axis, 0).reshape(exact.shape).astype(np.int64)
    scales = safe.scales.astype(np.float64).reshape(groups, -1, 1)
    least = error_of(best, exact / scales, gram) * scales[..., 0] ** 2
    for tried in (safe.scales, np.sqrt(safe.scales) * np.sqrt(plain.scales), plain.scales, plain.scales * np.float32(SMALLER)):
        step = tried.astype(np.float64).reshape(scales.shape)
        stored = rounded(exact / step, gram, upper, partners)
        error = error_of(stored, exact / step, gram) * step[..., 0] ** 2
        better = (error < least)[..., None]
        least = np.minimum(error, least)
        best, scales = np.where(better, stored, best), np.where(better, step, scales)
    best = descended(best, exact / scales, gram, partners)
    back = np.moveaxis(best.astype(np.int8).reshape(moved.shape), 0, layer.axis)
    return StoredWeights(np.ascontiguousarray(back), scales.reshape(-1).astype(np.float32), layer.axis)
