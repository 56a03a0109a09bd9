"""From what a value was seen to be to the range that its 256 steps cover.

Ranges contain 0, so that padding and Relu are exact. `mse` takes the range with the least squared error over the histogram, `kl` the one
whose quantized distribution loses least information (Migacz, "8-bit Inference with TensorRT", GTC 2017). Where only a function reads a
value (SiLU, for example), the error that counts is that of the function's result: what it makes nearly nothing of need not be covered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np

Method = Literal["minmax", "percentile", "mse", "kl"]
METHODS: tuple[Method, ...] = get_args(Method)

BINS = 4096
LEVELS = 255
OUTSIDE = 2e-4
"""Part of the elements that `percentile` leaves outside, half on either side. Those that are 0 do not count: what Relu leaves of a sparse
value would otherwise be cut."""

COARSE = tuple(0.65**power for power in range(8))
FINE = (0.8, 0.9, 1.0, 1.1, 1.2)
"""Parts of the full range that are tried for each side: first these, then around the best of them."""

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Step:
    """A quantization: real = (stored - zero) * scale, stored 0..255."""

    scale: float
    zero: int

    @property
    def low(self) -> float:
        return -self.zero * self.scale

    @property
    def high(self) -> float:
        return (LEVELS - self.zero) * self.scale

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The values that quantizing and dequantizing give, float64."""
        stored = np.clip(np.rint(values / self.scale) + self.zero, 0, LEVELS)
        return np.asarray((stored - self.zero) * self.scale)


@dataclass(slots=True)
class Histogram:
    """Counts of the elements in equal bins from `low` to `high`, which contain 0."""

    low: float
    high: float
    counts: np.ndarray

    @classmethod
    def empty(cls, low: float, high: float) -> Histogram:
        low, high = min(low, 0.0), max(high, 0.0)
        return cls(low, high, np.zeros(BINS, np.int64))

    @property
    def centres(self) -> np.ndarray:
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)

    def above(self, floor: float) -> Histogram:
        """The bins from a floor (below 0) on."""
        width = (self.high - self.low) / BINS
        first = int((floor - self.low) / width) if floor > self.low and width else 0
        if not first:
            return self
        return Histogram(self.low + first * width, self.high, self.counts[first:])

    def add(self, values: np.ndarray) -> None:
        """Counts these elements (float32, finite, within the bounds)."""
        if self.high == self.low:
            self.counts[0] += values.size
            return
        at = ((values.ravel() - np.float32(self.low)) * np.float32(BINS / (self.high - self.low))).astype(np.int32)
        self.counts += np.bincount(np.clip(at, 0, BINS - 1, out=at), minlength=BINS)


def step_of(low: float, high: float) -> Step:
    """The quantization that covers a range and 0; a range of nothing has scale 1."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / LEVELS))
    if not scale > np.finfo(np.float32).tiny:
        return Step(1.0, 0)
    return Step(scale, int(np.clip(np.rint(-low / scale), 0, LEVELS)))


def choose(histogram: Histogram, method: Method, function: Function | None = None) -> Step:
    """The quantization for a value that was seen so often at these places. `function`: what alone reads it."""
    if histogram.high == histogram.low or not histogram.counts.any():
        return step_of(histogram.low, histogram.high)
    if function is not None and method != "minmax":
        return _least_error(histogram, function)
    match method:
        case "minmax":
            return step_of(histogram.low, histogram.high)
        case "percentile":
            return step_of(*_percentile(histogram))
        case "mse":
            return _least_error(histogram, None)
        case "kl":
            return _least_divergence(histogram)


def noise_ratio(histogram: Histogram, step: Step) -> float:
    """Signal over quantization noise in dB, over the histogram."""
    centres, counts = histogram.centres, histogram.counts
    signal = float((counts * centres**2).sum())
    noise = float((counts * (centres - step.rounded(centres)) ** 2).sum())
    return 10 * float(np.log10(signal / noise)) if signal and noise else float("inf")


def _percentile(histogram: Histogram) -> tuple[float, float]:
    counts = histogram.counts.copy()
    width = (histogram.high - histogram.low) / len(counts)
    counts[min(int(-histogram.low / width), len(counts) - 1)] = 0
    if not counts.any():
        return histogram.low, histogram.high
    part = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(part, [OUTSIDE / 2, 1 - OUTSIDE / 2])
    return histogram.low + width * first, histogram.low + width * (min(int(last), len(counts) - 1) + 1)


def _least_error(histogram: Histogram, function: Function | None) -> Step:
    kept = histogram.counts > 0
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    results = None if function is None else np.asarray(function(centres.astype(np.float32)), np.float64)

    def best(parts: list[tuple[float, float]]) -> tuple[float, float]:
        scales, zeros = np.array([(step.scale, step.zero) for step in (_drawn_in(histogram, part) for part in parts)]).T[:, :, None]
        rounded = (np.clip(np.rint(centres[kept] / scales) + zeros, 0, LEVELS) - zeros) * scales
        error = rounded - centres[kept] if results is None else np.interp(rounded, centres, results) - results[kept]
        return parts[int(np.argmin((error**2) @ counts[kept]))]

    coarse = best(list(product(COARSE, COARSE)))
    return _drawn_in(histogram, best([(coarse[0] * a, coarse[1] * b) for a, b in product(FINE, FINE)]))


def _drawn_in(histogram: Histogram, parts: tuple[float, float]) -> Step:
    """The quantization over these parts of both sides."""
    return step_of(histogram.low * min(parts[0], 1.0), histogram.high * min(parts[1], 1.0))


def _least_divergence(histogram: Histogram) -> Step:
    best, least = step_of(histogram.low, histogram.high), np.inf
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    zero = int(np.searchsorted(centres, 0.0))
    counts[max(0, zero - 1) : zero + 1] = 0  # what Relu and padding give is exact in any range
    for shrink in np.linspace(1.0, 0.3, 29):
        step = step_of(histogram.low * shrink, histogram.high * shrink)
        inside = (centres >= histogram.low * shrink) & (centres <= histogram.high * shrink)
        first, last = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
        told = counts[first:last].copy()
        told[0] += counts[:first].sum()
        told[-1] += counts[last:].sum()
        levels = np.clip(np.rint(centres[first:last] / step.scale) + step.zero, 0, LEVELS).astype(np.int64)
        filled = counts[first:last] > 0
        sums = np.bincount(levels, counts[first:last], LEVELS + 1)
        sizes = np.bincount(levels, filled, LEVELS + 1)
        spread = np.where(filled, sums[levels] / np.maximum(sizes[levels], 1), 0)
        if (divergence := _divergence(told, spread)) < least:
            best, least = step, divergence
    return best


def _divergence(told: np.ndarray, spread: np.ndarray) -> float:
    """Kullback-Leibler divergence of two counts; infinite where the second has nothing of the first."""
    if not spread.sum():
        return np.inf
    p, q = told / told.sum(), spread / spread.sum()
    seen = p > 0
    q = np.maximum(q[seen], 1e-9)  # elements outside the range that fall on a level which was empty
    return float((p[seen] * np.log(p[seen] / q)).sum())
