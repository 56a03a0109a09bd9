"""Weights as int8 with one scale for each output channel, biases as int32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.quantize.units import Layer

MOST = 127
PAIR = 128
"""What the positive and the negative part of a pair of neighbouring weights may each sum to: 255 * 128 fits int16."""

BIAS_MOST = 2**30
"""Half of int32 is left to the products."""


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """`weight` int8 as the file has it (a turned Gemm's turned), `scales` float32 [outputs]; real = stored * scale."""

    weight: np.ndarray
    scales: np.ndarray
    axis: int

    @property
    def real(self) -> np.ndarray:
        return np.asarray(self.weight * along(self.scales, self.weight.ndim, self.axis))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A layer's weights, and its bias [outputs], None for a layer without."""

    weights: StoredWeights
    bias: np.ndarray | None


def real_weight(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """The float weight with its output channels along `layer.axis`, a Gemm's alpha inside it."""
    found = weight.T if layer.turned else weight
    return np.asarray(found * np.float32(layer.scale), np.float32)


def store_weights(layer: Layer, weight: np.ndarray, bias: np.ndarray | None, x_scale: float, *, pair_safe: bool) -> StoredWeights:
    """Stores `weight` (of `real_weight`) with the smallest scales that hold it, and its bias in steps of x_scale * scale.

    `pair_safe`: in the order in which kernels read them (taps, then channels), the positive parts of each pair of neighbours, and their
    negative parts, sum to at most 128, so that 16-bit sums of two products with bytes cannot saturate. The scale is raised to the first
    one that allows it; where rounding up exceeds the sum by 1, the element that was rounded up most is rounded down.
    """
    axis = layer.axis
    moved = np.moveaxis(weight, axis, 0)
    rows = moved.reshape(moved.shape[0], -1).astype(np.float64)
    orders = _orders(layer, weight) if pair_safe and has_pairs(layer, weight) else []
    least = np.abs(rows).max(1) / MOST
    for order in orders:
        pairs = _paired(_ordered(rows, order))
        sums = np.maximum(np.maximum(pairs, 0).sum(2), np.maximum(-pairs, 0).sum(2))
        least = np.maximum(least, sums.max(1) / PAIR)
    least = np.where(least > 0, least, least.max() if least.max() > 0 else 1.0)
    if bias is not None:
        least = np.maximum(least, np.abs(bias.astype(np.float64)) / (x_scale * BIAS_MOST))
    scales = _best_scales(rows, least)
    exact = rows / scales[:, None].astype(np.float64)
    stored = np.clip(np.rint(exact), -MOST, MOST).astype(np.int64)
    for order in orders * len(orders):
        _lower(stored, exact, order)
    return StoredWeights(np.moveaxis(stored.astype(np.int8).reshape(moved.shape), 0, axis), scales, axis)


def _best_scales(rows: np.ndarray, least: np.ndarray) -> np.ndarray:
    """For each row the scale, from the least that holds it on, that rounds with the least squared error.

    Tried are those that put the largest weight on a whole step: weights that lie on a grid already stay exact.
    """
    least = np.nextafter(np.maximum(least, 1e-30).astype(np.float32), np.float32(np.inf))
    best, error = least, np.full(len(rows), np.inf)
    largest = np.abs(rows).max(1)
    for steps in (None, *range(MOST, MOST // 2, -1)):
        scales = least if steps is None else (largest / steps).astype(np.float32)
        usable = scales >= least if steps is None else scales >= least * np.float32(1 - 1e-6)
        scales = np.where(usable, scales, least)
        wide = scales[:, None].astype(np.float64)
        found = ((np.rint(rows / wide) * wide - rows) ** 2).sum(1)
        better = usable & (found < error * (1 - 1e-9))
        best, error = np.where(better, scales, best), np.where(better, found, error)
    return best.astype(np.float32)


def store_bias(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int32, in steps of `scales` (x_scale * weight scale)."""
    limit = np.iinfo(np.int32)
    return np.asarray(np.clip(np.rint(bias.astype(np.float64) / scales), limit.min, limit.max)).astype(np.int32)


def has_pairs(layer: Layer, weight: np.ndarray) -> bool:
    """Whether products of this layer are summed in pairs: not where each output reads one channel."""
    return layer.axis == 1 or weight.shape[1] > 1 or layer.group == 1


def partners_of(layer: Layer, weight: np.ndarray) -> list[np.ndarray]:
    """For each column of a row of weights those that it is summed with in 16 bits."""
    found: list[set[int]] = [set() for _ in range(weight.size // weight.shape[layer.axis])]
    for order in _orders(layer, weight) if has_pairs(layer, weight) else []:
        for one, other in order.reshape(-1, 2).tolist():
            if one >= 0 and other >= 0:
                found[one].add(other)
                found[other].add(one)
    return [np.array(sorted(each), np.int64) for each in found]


def is_pair_safe(layer: Layer, stored: np.ndarray) -> bool:
    """Whether no pair of neighbours of int8 weights can saturate."""
    rows = np.moveaxis(stored, layer.axis, 0).reshape(stored.shape[layer.axis], -1).astype(np.int64)
    for order in _orders(layer, stored):
        pairs = _paired(_ordered(rows, order))
        if max(np.maximum(pairs, 0).sum(2).max(), np.maximum(-pairs, 0).sum(2).max()) > PAIR:
            return False
    return True


def weight_noise_ratio(real: np.ndarray, stored: StoredWeights) -> float:
    """Signal over quantization noise in dB."""
    noise = float(((real.astype(np.float64) - stored.real) ** 2).sum())
    signal = float((real.astype(np.float64) ** 2).sum())
    return 10 * float(np.log10(signal / noise)) if noise and signal else float("inf")


def along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """Values shaped so that they multiply along one axis."""
    return values.reshape([-1 if each == axis else 1 for each in range(rank)])


def _orders(layer: Layer, weight: np.ndarray) -> list[np.ndarray]:
    """The columns of a row of weights in the orders in which they are summed, -1 for padding of a tap to an even number of channels.

    With an odd number of channels kernels differ: pairs may end with the tap or reach into the next.
    """
    if layer.axis == 1:
        channels, at = weight.shape[0], np.arange(weight.shape[0]).reshape(1, -1)
    else:
        channels = weight.shape[1]
        at = np.arange(weight[0].size).reshape(channels, -1).T
    if channels % 2 == 0:
        return [at.ravel()]
    padded = np.pad(at, ((0, 0), (0, 1)), constant_values=-1)
    through = at.ravel()
    return [padded.ravel(), through if through.size % 2 == 0 else np.append(through, -1)]


def _paired(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(rows.shape[0], -1, 2)


def _lower(stored: np.ndarray, exact: np.ndarray, order: np.ndarray) -> None:
    """Takes 1 off one element of each pair whose sum is too large."""
    for sign in (1, -1):
        pairs, real = _paired(_ordered(stored, order)) * sign, _paired(_ordered(exact, order)) * sign
        over = np.maximum(pairs, 0).sum(2) > PAIR
        if not over.any():
            continue
        up = np.where(pairs > 0, pairs - real, -np.inf)
        row, pair = np.nonzero(over)
        column = order.reshape(-1, 2)[pair, np.argmax(up[row, pair], axis=1)]
        stored[row, column] -= sign


def _ordered(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = rows[:, order]
    found[:, order < 0] = 0
    return found
