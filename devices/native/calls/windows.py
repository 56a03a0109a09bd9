"""Pooling, means, resizing and spatial padding."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import prod

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Call, Context, Part, Words, row_stride
from devices.native.calls.convolution import window_words
from devices.native.calls.elementwise import quantization
from devices.native.calls.moves import pad_channels
from devices.native.kernels.layout import CHANNELS, OVER_READ, round_up
from devices.native.lower import Operand, Step
from devices.native.operators.spatial import Window
from devices.native.reference.spatial import counts, samples


def max_pool(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.MaxPool)
    form = {"uint8": "max_u8", "float32": "max_f32"}.get(step.output.type.dtype)
    return _pool(step, form, step.op.window, -np.inf if form == "max_f32" else 0)


def average_pool(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.AveragePool)
    x = step.inputs[0]
    if not _is_image(x):
        return None
    # The sum of a window times one number for each place: 1 / its taps that count.
    count = counts(step.op.window, x.type.spatial, step.op.padding_counts, step.op.overhang)
    scale = np.ascontiguousarray(1 / count, np.float32).reshape(-1)
    return _pool(step, "mean_f32", step.op.window, 0.0, scale=scale)


def reduce(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Reduce)
    x = step.inputs[0]
    if not _is_image(x) or step.op.kind != "mean" or step.op.axes != (1, 2) or x.type.dtype != "float32":
        return None
    whole = _whole(x)
    return _pool(step, "mean_f32", whole, 0.0, scale=np.full(1, 1 / prod(whole.kernel), np.float32))


def q_mean(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.QMean)
    x, out = step.inputs[0], step.op.out
    if not _is_image(x):
        return None
    given, whole = quantization(x), _whole(x)
    count = prod(whole.kernel)
    scale = np.full(1, given.scale / (out.scale * np.float32(count)), np.float32)
    return _pool(step, "mean_u8", whole, given.zero, scale=scale, bias=-given.zero * count, zero=out.zero, low=0, high=255)


def resize(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Resize)
    x, op = step.inputs[0], step.op
    if not _is_image(x) or not set(op.axes) <= {1, 2}:
        return None
    picked = {axis: (np.arange(x.type.shape[axis])[None], np.ones((1, x.type.shape[axis]), np.float32)) for axis in (1, 2)}
    for axis, size, scale in zip(op.axes, op.sizes, op.scales, strict=True):
        picked[axis] = samples(op, x.type.shape[axis], size, scale)
    if op.mode == "nearest":
        return _pick(step, picked[1][0][0], picked[2][0][0], np.zeros(1, np.uint8))
    return _blend(step, *picked[1], *picked[2])


def _blend(step: Step, rows: np.ndarray, down: np.ndarray, columns: np.ndarray, along: np.ndarray) -> list[Call] | None:
    """Indices and weights of the samples of each output row, then of each column."""
    x, out = step.inputs[0], step.output
    channels = round_up(x.type.shape[3], CHANNELS)
    if min(x.stride, out.stride) < channels:
        return None
    pixel = row_stride(x)
    line = pixel * x.type.shape[2]
    words: Words = {
        "x": Part(x), "out": Part(out), "stride_out": row_stride(out), "channels": channels,
        "weights_y": np.ascontiguousarray(down.T), "weights_x": np.ascontiguousarray(along.T),
        "rows": np.ascontiguousarray(rows.T * line, np.int32), "columns": np.ascontiguousarray(columns.T * pixel, np.int32),
        "taps_y": len(rows), "taps_x": len(columns), "height_out": rows.shape[1], "width_out": columns.shape[1],
        "image_bytes": line * x.type.shape[1], "tap_bytes": pixel, "row_bytes": line,
    }  # fmt: skip
    kernel = "resize_f32_2x2" if len(rows) == len(columns) == 2 else "resize_f32_any"
    return [Call(kernel, out.type.shape[0] * rows.shape[1], words)]


def pad(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Pad)
    x, op = step.inputs[0], step.op
    outside = [op.before[axis] or op.after[axis] for axis in (0, 3)] if x.type.rank == 4 else [1]
    if x.region != "constants" and (calls := pad_channels(step)) is not None:
        return calls
    if not _is_image(x) or op.mode != "constant" or any(outside):
        return None
    rows, columns = (np.arange(-op.before[axis], x.type.shape[axis] + op.after[axis]) for axis in (1, 2))
    inside = [np.where((index >= 0) & (index < size), index, -1) for index, size in ((rows, x.type.shape[1]), (columns, x.type.shape[2]))]
    return _pick(step, inside[0], inside[1], np.full(1, op.value, x.type.dtype))


def _pick(step: Step, rows: np.ndarray, columns: np.ndarray, fill: np.ndarray) -> list[Call] | None:
    """Each output pixel from the input row and column of these numbers; -1: outside."""
    x, out = step.inputs[0], step.output
    pixel = row_stride(x)
    line = pixel * x.type.shape[2]
    inner = (columns >= 0).nonzero()[0]
    words: Words = {
        "x": Part(x), "out": Part(out), "stride_out": row_stride(out), "bytes": x.type.shape[3] * np.dtype(x.type.dtype).itemsize,
        "pad": np.full(line // fill.itemsize + OVER_READ, fill[0], fill.dtype), "taps_y": 1, "taps_x": 1,
        "rows": np.where(rows < 0, -1, rows * line).astype(np.int32)[:, None],
        "columns": np.where(columns < 0, -1, columns * pixel).astype(np.int32)[:, None],
        "width_out": len(columns), "height_out": len(rows), "image_bytes": line * x.type.shape[1], "tap_bytes": pixel, "row_bytes": line,
        "inner_begin": int(inner[0]) if len(inner) else 0, "inner_end": int(inner[-1]) + 1 if len(inner) else 0,
    }  # fmt: skip
    return [Call("pick", out.type.shape[0] * len(rows), words)]


def _pool(step: Step, form: str | None, window: Window, fill: float, **words: np.ndarray | float) -> list[Call] | None:
    x, out = step.inputs[0], step.output
    channels = round_up(out.type.shape[-1], CHANNELS)
    if form is None or not _is_image(x) or min(x.stride, out.stride) < channels:
        return None
    found: Words = {"x": Part(x), "out": Part(out), "channels": channels, "stride_out": row_stride(out), **window_words(x, window, fill)}
    rows = out.type.shape[0] * (out.type.shape[1] if out.type.rank == 4 else 1)
    return [Call(f"pool_{form}", rows, {**found, **words})]


def _whole(x: Operand) -> Window:
    return Window(x.type.spatial, (1, 1), (0,) * 4, (1, 1))


def _is_image(x: Operand) -> bool:
    return x.type.layout == "nhwc" and x.type.rank == 4
