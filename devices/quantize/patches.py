"""What a layer's weights are multiplied with, as rows: its input under the window of a convolution, or the rows of a product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from devices.quantize.units import Layer


def spread(count: int, most: int, first: int) -> np.ndarray:
    """At most `most` of so many places, evenly spread; samples with different `first` take different ones."""
    step = -(-count // most)
    return np.arange(first % step, count, step)


def patches(node: Any, layer: Layer, taps: Sequence[int], x: np.ndarray, most: int, first: int) -> np.ndarray:
    """Rows of a layer's input, float32 [groups, places, columns], columns as in the weight of one output (channels, then taps).

    `node` is the layer's Conv, Gemm or MatMul, `taps` the sizes of its window, x [1, channels, ...] or [..., columns].
    """
    if layer.axis == 1:
        rows = x.reshape(-1, x.shape[-1])
        return np.asarray(rows[spread(len(rows), most, first)][None])
    given = {attribute.name: attribute for attribute in node.attribute}
    rank = len(taps)
    strides, dilations = (list(given[name].ints) if name in given else [1] * rank for name in ("strides", "dilations"))
    reach = [(tap - 1) * dilation + 1 for tap, dilation in zip(taps, dilations, strict=True)]
    padded = np.pad(x, ((0, 0), (0, 0), *_pads(given, x.shape[2:], reach, strides)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + rank)))
    steps = (slice(None), slice(None), *(slice(None, None, stride) for stride in strides), *(slice(None, None, each) for each in dilations))
    windows = windows[steps]
    batch, channels, *size = windows.shape[: 2 + rank]
    places = spread(int(np.prod([batch, *size])), most, first)
    sample, *at = np.unravel_index(places, (batch, *size))
    place: tuple[Any, ...] = (sample, slice(None), *at)
    taken = windows[place]
    each = channels // layer.group
    return np.ascontiguousarray(taken.reshape(len(places), layer.group, each * int(np.prod(taps))).swapaxes(0, 1))


def _pads(given: Any, size: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    rank = len(size)
    how = given["auto_pad"].s if "auto_pad" in given else b"NOTSET"
    if how in (b"SAME_UPPER", b"SAME_LOWER"):
        total = [max(0, (-(-have // stride) - 1) * stride + span - have) for stride, span, have in zip(strides, reach, size, strict=True)]
        small = [each // 2 for each in total]
        pairs = list(zip(small, (whole - half for whole, half in zip(total, small, strict=True)), strict=True))
        return pairs if how == b"SAME_UPPER" else [pair[::-1] for pair in pairs]
    if how == b"VALID" or "pads" not in given:
        return [(0, 0)] * rank
    pads = list(given["pads"].ints)
    return list(zip(pads[:rank], pads[rank:], strict=True))
