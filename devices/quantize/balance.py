"""How far the channels of a value are scaled: what its rounding gains against what the weights behind it lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from devices.quantize.units import Layer
from devices.quantize.weights import store_weights

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Channels:
    """What the channels of a value were seen to be, float64 [channels]: bounds of a sample on average, and mean squares."""

    lows: np.ndarray
    highs: np.ndarray
    squares: np.ndarray


def balanced(behind: Sequence[tuple[Layer, np.ndarray]], values: Sequence[Channels], most: float, least: np.ndarray) -> np.ndarray:
    """What channels are divided by: float64, at most 1, at least `least`.

    `behind` are layers with their weights, read one of the `values` each or a sum of them. Tried are powers of the channels' sizes, and
    taken is the one with the least noise at the layers' outputs: the values' rounding, one step for all channels, and the weights'.
    """
    sizes = np.mean([relative(np.maximum(each.highs, -each.lows), most) for each in values], axis=0)
    squares = np.mean([each.squares for each in values], axis=0)
    best, least_noise = np.ones(sizes.shape), np.inf
    for power in POWERS if not all(_depthwise(layer, weight) for layer, weight in behind) else POWERS[-1:]:
        s = np.minimum(1.0, np.maximum(sizes**power, least))
        span = [max((each.highs / s).max(), 0.0) - min((each.lows / s).min(), 0.0) for each in values]
        rounding = sum((each / 255) ** 2 / 12 for each in span)
        noise = 0.0
        for layer, weight in behind:
            scaled = by_input(layer, weight, s)
            noise += rounding * float((scaled**2).sum())
            if not _depthwise(layer, weight):
                error = scaled - store_weights(layer, scaled.astype(np.float32), None, 1.0, pair_safe=False).real
                noise += float((by_input(layer, error**2, squares / s**2)).sum())
        if noise < least_noise:
            best, least_noise = s, noise
    return best


def by_input(layer: Layer, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """A convolution's weight, float64, each input channel times its factor."""
    spread = np.repeat(factors.reshape(layer.group, 1, weight.shape[1]), weight.shape[0] // layer.group, axis=1)
    return np.asarray(weight * spread.reshape(*weight.shape[:2], *(1,) * (weight.ndim - 2)), np.float64)


def relative(sizes: np.ndarray, most: float) -> np.ndarray:
    """Sizes of channels as parts of the largest, none below 1 / most."""
    largest = sizes.max()
    return np.asarray(np.clip(sizes / largest, 1 / most, 1.0)) if largest > 0 else np.ones(sizes.shape)


def _depthwise(layer: Layer, weight: np.ndarray) -> bool:
    """Whether each output reads one channel, so that its scale takes that of the channel."""
    return layer.group > 1 and weight.shape[1] == 1
