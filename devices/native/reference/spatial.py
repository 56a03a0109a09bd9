"""Convolution, pooling and resize, channels last inside, one kernel tap after another."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from devices.native.ir import Layout, Type
from devices.native.operators.spatial import AveragePool, Conv, ConvTranspose, MaxPool, Resize, Rounding, Window
from devices.native.reference.elementwise import unary


def conv(
    op: Conv, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, residual: np.ndarray | None = None
) -> np.ndarray:
    y = channels_first(convolve(op.window, op.group, out.layout, x, weight) + bias, out.layout)
    if residual is not None:
        y = y + residual
    return unary(op.activation, types, out, y) if op.activation else y


def convolve(window: Window, group: int, layout: Layout, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The sums of a convolution, channels last, in the dtype of x."""
    x = padded(channels_last(x, layout), window.pads, 0)
    w = channels_last(weight, layout)
    outs, each = w.shape[0], w.shape[-1]
    sizes = window_sizes(window, x.shape[1:-1])
    total = np.zeros((x.shape[0], *sizes, outs), x.dtype)
    depthwise = each == 1 and group > 1
    if depthwise:
        total = total.reshape(*total.shape[:-1], group, outs // group)
    for tap, seen in taps(window, x, sizes):
        part: np.ndarray = w[(slice(None), *tap)]  # type: ignore[arg-type]
        if depthwise:
            total += seen[..., None] * part.reshape(group, outs // group)
        elif group == 1:
            total += (np.ascontiguousarray(seen).reshape(-1, each) @ part.T).reshape(total.shape)
        else:
            apart = np.moveaxis(seen.reshape(-1, group, each), 1, 0)
            sums = apart @ part.reshape(group, outs // group, each).transpose(0, 2, 1)
            total += np.moveaxis(sums, 0, 1).reshape(total.shape)
    return total.reshape(*total.shape[: 1 + len(sizes)], outs)


def conv_transpose(op: ConvTranspose, types: Sequence[Type], out: Type, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    window, rank = op.window, len(op.window.kernel)
    x = channels_last(x, out.layout)
    whole = [
        step * (size - 1) + extent + more
        for size, step, extent, more in zip(x.shape[1:-1], window.strides, window.extent, op.extra, strict=True)
    ]
    channels, each = x.shape[-1] // op.group, weight.shape[1]
    apart = np.moveaxis(x.reshape(-1, op.group, channels), 1, 0)
    total = np.zeros((x.shape[0], *whole, op.group * each), x.dtype)
    for tap in product(*map(range, window.kernel)):
        part = weight[(slice(None), slice(None), *tap)].reshape(op.group, channels, each)  # type: ignore[arg-type]
        sums = np.moveaxis(apart @ part, 0, 1).reshape(*x.shape[:-1], op.group * each)
        place = tuple(
            slice(at * step, at * step + stride * (size - 1) + 1, stride)
            for at, step, stride, size in zip(tap, window.dilations, window.strides, x.shape[1:-1], strict=True)
        )
        total[(slice(None), *place)] += sums
    cut = tuple(slice(window.pads[i], whole[i] - window.pads[i + rank]) for i in range(rank))
    y = channels_first(total[(slice(None), *cut)] + bias, out.layout)
    return unary(op.activation, types, out, y) if op.activation else y


def max_pool(op: MaxPool, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    x = padded(channels_last(x, out.layout), op.window.pads, lowest)
    sizes = window_sizes(op.window, x.shape[1:-1])
    y = np.full((x.shape[0], *sizes, x.shape[-1]), lowest, x.dtype)
    for _, seen in taps(op.window, x, sizes):
        np.maximum(y, seen, out=y)
    return channels_first(y, out.layout)


def average_pool(op: AveragePool, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    return channels_first(averages(op.window, channels_last(x, out.layout), op.padding_counts, op.overhang), out.layout)


def averages(window: Window, x: np.ndarray, padding_counts: bool, overhang: tuple[int, ...]) -> np.ndarray:
    """Means under the window, channels last."""
    count = counts(window, x.shape[1:-1], padding_counts, overhang).astype(x.dtype)
    x = padded(x, window.pads, 0)
    sizes = window_sizes(window, x.shape[1:-1])
    total = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    for _, seen in taps(window, x, sizes):
        total += seen
    return np.asarray(total / count, x.dtype)


def counts(window: Window, spatial: Sequence[int], padding_counts: bool, overhang: tuple[int, ...]) -> np.ndarray:
    """How many positions count at each place of the window, as (1, sizes..., 1)."""
    rank = len(window.kernel)
    ones = np.ones((1, *spatial, 1), np.float32)
    if padding_counts:
        over = overhang or (0,) * rank
        pads = (*window.pads[:rank], *(after - more for after, more in zip(window.pads[rank:], over, strict=True)))
        ones = np.pad(padded(ones, pads, 1), [(0, 0), *((0, more) for more in over), (0, 0)])
    else:
        ones = padded(ones, window.pads, 0)
    sizes = window_sizes(window, ones.shape[1:-1])
    count = np.zeros((1, *sizes, 1), np.float32)
    for _, real in taps(window, ones, sizes):
        count += real
    return count


def resize(op: Resize, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    for axis, size, scale in zip(op.axes, op.sizes, op.scales, strict=True):
        indices, weights = samples(op, x.shape[axis], size, scale)
        shape = [1] * x.ndim
        shape[axis] = size
        if op.mode == "nearest":
            x = np.take(x, indices[0], axis)
        else:
            x = sum(
                (np.take(x, index, axis) * weight.astype(x.dtype).reshape(shape) for index, weight in zip(indices, weights, strict=True)),
                start=np.zeros((), x.dtype),
            )
    return x


def samples(op: Resize, size: int, wanted: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(taps, wanted) indices into an axis of this size, and their weights (float32)."""
    at = _coordinates(op, size, wanted, np.float32(scale))
    match op.mode:
        case "nearest":
            index = _rounded(at, op.rounding).astype(np.int64)[None]
            return np.clip(index, 0, size - 1), np.ones((1, wanted), np.float32)
        case "linear":
            at = np.clip(at, 0, size - 1)
            low = np.floor(at)
            index = low.astype(np.int64)[None] + np.arange(2)[:, None]
            weights = np.stack([1 - (at - low), at - low])
        case "cubic":
            low = np.floor(at)
            index = low.astype(np.int64)[None] + np.arange(-1, 3)[:, None]
            weights = _cubic(at - low, op.cubic_a)
    if op.exclude_outside:
        weights = np.where((index >= 0) & (index < size), weights, np.float32(0))
        weights = weights / weights.sum(0)
    return np.clip(index, 0, size - 1), weights.astype(np.float32)


def _rounded(at: np.ndarray, rounding: Rounding) -> np.ndarray:
    match rounding:
        case "round_prefer_floor":
            return np.ceil(at - np.float32(0.5))
        case "round_prefer_ceil":
            return np.floor(at + np.float32(0.5))
        case "floor":
            return np.asarray(np.floor(at))
        case "ceil":
            return np.asarray(np.ceil(at))


def _coordinates(op: Resize, size: int, wanted: int, scale: np.float32) -> np.ndarray:
    x, half = np.arange(wanted, dtype=np.float32), np.float32(0.5)
    if scale == 1 and size == wanted:
        return x
    match op.coordinates:
        case "half_pixel":
            return (x + half) / scale - half
        case "pytorch_half_pixel":
            return (x + half) / scale - half if wanted > 1 else np.zeros(1, np.float32)
        case "align_corners":
            last = scale * np.float32(size) - 1
            return x * np.float32(size - 1) / last if wanted > 1 and last > 0 else np.zeros(wanted, np.float32)
        case "asymmetric":
            return x / scale
        case "tf_half_pixel_for_nn":
            return (x + half) / scale
        case "half_pixel_symmetric":
            offset = np.float32(size / 2) * (1 - np.float32(wanted) / (scale * np.float32(size)))
            return offset + (x + half) / scale - half


def _cubic(t: np.ndarray, a: float) -> np.ndarray:
    """Weights of the samples at -1, 0, 1, 2 (Keys, Cubic convolution interpolation for digital image processing, 1981)."""
    far, near = t + 1, 1 - t
    return np.stack([
        ((a * far - 5 * a) * far + 8 * a) * far - 4 * a, ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * near - (a + 3)) * near * near + 1, ((a * (near + 1) - 5 * a) * (near + 1) + 8 * a) * (near + 1) - 4 * a,
    ])  # fmt: skip


def channels_last(x: np.ndarray, layout: Layout) -> np.ndarray:
    return np.moveaxis(x, 1, -1) if layout == "nchw" else x


def channels_first(x: np.ndarray, layout: Layout) -> np.ndarray:
    """From channels last to the layout."""
    return np.moveaxis(x, -1, 1) if layout == "nchw" else x


def padded(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    if not any(pads):
        return x
    rank = len(pads) // 2
    return np.pad(x, [(0, 0), *((pads[i], pads[i + rank]) for i in range(rank)), (0, 0)], constant_values=value)


def window_sizes(window: Window, spatial: Sequence[int]) -> tuple[int, ...]:
    """Output sizes over an input that is padded already."""
    return tuple((size - extent) // step + 1 for size, extent, step in zip(spatial, window.extent, window.strides, strict=True))


def taps(window: Window, x: np.ndarray, sizes: Sequence[int]) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each place of the kernel and what it sees of a padded channels-last input."""
    assert prod(sizes)
    for tap in product(*map(range, window.kernel)):
        cut = tuple(
            slice(at * dilation, at * dilation + stride * (size - 1) + 1, stride)
            for at, dilation, stride, size in zip(tap, window.dilations, window.strides, sizes, strict=True)
        )
        yield tap, x[(slice(None), *cut)]
