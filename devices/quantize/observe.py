"""Watches a float model over the calibration samples: bounds of its values, their histograms, means of the layers' inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from devices.engine import EngineError
from devices.quantize.balance import Channels
from devices.quantize.execute import Feed, Runner
from devices.quantize.network import Network
from devices.quantize.ranges import Histogram

Tick = Callable[[], None]

ELEMENTS = 2**16
"""About so many elements of a sample's value are counted, evenly spread; bounds are those of all."""


@dataclass(frozen=True)
class Seen:
    """`histograms` and `elements` (of a sample) by value. For some values, float64, one number for each channel (axis 1 of pictures, the
    last axis otherwise): `means`, `squares` (means of these), `lows` and `highs`, the bounds of a sample on average, and `peaks`, the
    largest element of all."""

    histograms: Mapping[str, Histogram]
    elements: Mapping[str, int]
    means: Mapping[str, np.ndarray]
    squares: Mapping[str, np.ndarray]
    lows: Mapping[str, np.ndarray]
    highs: Mapping[str, np.ndarray]
    peaks: Mapping[str, np.ndarray]

    def channels(self, value: str) -> Channels:
        """The channels of one value."""
        return Channels(self.lows[value], self.highs[value], self.squares[value])


def observe(
    network: Network, model: object, values: Sequence[str], averaged: Iterable[str], feeds: Callable[[], Iterable[Feed]],
    *, threads: int = 1, tick: Tick = lambda: None,
) -> Seen:  # fmt: skip
    """Two passes over the samples, one for the bounds, one for the histograms. Raises EngineError for values that are not finite."""
    runner = Runner(model, values=[name for name in values if name not in network.inputs], threads=threads)
    inner = [name for name in values if name not in network.inputs]
    wanted = set(averaged)
    bounds: dict[str, tuple[float, float]] = {}
    sums: dict[str, np.ndarray] = {}  # for each value rows of means, squares, lows and highs
    peaks: dict[str, np.ndarray] = {}
    elements: dict[str, int] = {}
    count = 0
    for feed in feeds():
        count += 1
        for name, array in _all(runner, inner, values, feed):
            low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
            if not (np.isfinite(low) and np.isfinite(high)):
                maker = network.makers.get(name)
                where = f"node {network.nodes[maker].name!r}" if maker is not None else f"input {name!r}"
                raise EngineError(f"{network.path}: {where}: expected finite values, got others; the float model has to run well")
            elements[name] = array.size
            before = bounds.get(name, (low, high))
            bounds[name] = min(before[0], low), max(before[1], high)
            if name in wanted:
                figures = of_channels(array)
                sums[name] = figures if name not in sums else sums[name] + figures
                peaks[name] = figures[-1] if name not in peaks else np.maximum(peaks[name], figures[-1])
        tick()
    histograms = {name: Histogram.empty(*bounds[name]) for name in values}
    for feed in feeds():
        for name, array in _all(runner, inner, values, feed):
            flat = array.ravel()
            histograms[name].add(flat[:: flat.size // ELEMENTS | 1])
        tick()
    means, squares, lows, highs = ({name: total[row] / count for name, total in sums.items()} for row in range(4))
    return Seen(histograms, elements, means, squares, lows, highs, peaks)


def of_channels(array: np.ndarray) -> np.ndarray:
    """Mean, mean square, least and largest of each channel, float64 [4, channels]: axis 1 of three dimensions or more, or the last."""
    rows = array if array.ndim > 2 else array.reshape(-1, array.shape[-1] if array.ndim else 1)
    rows = np.moveaxis(rows, 1, 0).reshape(rows.shape[1], -1)
    squares = np.einsum("ij,ij->i", rows, rows) / rows.shape[1]
    return np.stack([rows.mean(axis=1), squares, rows.min(axis=1), rows.max(axis=1)]).astype(np.float64)


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """One histogram over the bounds of all."""
    whole = Histogram.empty(min(each.low for each in histograms), max(each.high for each in histograms))
    if len(histograms) == 1:
        return histograms[0]
    span = whole.high - whole.low
    for each in histograms:
        at = np.zeros(len(each.counts), np.int64) if not span else ((each.centres - whole.low) * (len(each.counts) / span)).astype(np.int64)
        np.add.at(whole.counts, np.clip(at, 0, len(whole.counts) - 1), each.counts)
    return whole


def _all(runner: Runner, inner: Sequence[str], values: Sequence[str], feed: Feed) -> Iterable[tuple[str, np.ndarray]]:
    yield from ((name, feed[name]) for name in values if name in feed)
    yield from runner.fetch(inner, feed)
