"""Quantized operators of the intermediate representation as tiles of the machine's instructions."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from math import prod

import numpy as np

from devices.native.ir import Op, Quantization, Type
from devices.native.operators import FlipSign, MaxPool, QAdd, QAveragePool, QConv, QDense, QMean, QMul, Table, Window
from devices.vpu import windows
from devices.vpu.emitter import Emitter, Place, Refusal, Step, placed
from devices.vpu.fixed import RangeError, factor, factors
from devices.vpu.instructions import Add, Instruction, Lookup, Multiply
from devices.vpu.moves import broadcast_steps
from devices.vpu.strided import Box, collapsed, offset, pieces, row_steps, three
from devices.vpu.windows import Make, Pass, Sizes, Weights

POINT = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))


def conv(e: Emitter, step: Step) -> None:
    op = step.op
    x, weight, _ = step.types
    out = step.out
    sizes, made = _picture(x), _picture(out)
    array, params = _constants(step)
    deep = x.channels // op.group
    if op.group > 1 and deep == 1 and weight.shape[0] == op.group:
        given = Weights(e.constant(array.reshape(op.group, -1).T), e.constant(params), own=False)
        make = windows.depthwise(op.window, _zero(x), op.out.zero, op.low, op.high)
        groups, wide = 1, op.group
    else:
        given = Weights(e.constant(array), e.constant(params), own=True)
        make = windows.conv(op.window, _zero(x), op.out.zero, op.low, op.high)
        groups, wide = op.group, weight.shape[0] // op.group
        sizes, made = (*sizes[:2], deep), (*made[:2], wide)
    taps = prod(op.window.kernel) * deep
    for n in range(x.shape[0]):
        for group in range(groups):
            own = Weights(given.weights.at(group * wide * taps), given.params.at(group * wide * 16), given.own) if groups > 1 else given
            windows.emit(e, Pass(
                step.places[0].at(n * prod(_picture(x)) + group * deep), sizes, x.channels,
                step.y.at(n * prod(_picture(out)) + group * wide * (groups > 1)), made, out.channels,
                op.window, _zero(x), ((0, made[0]), (0, made[1])), make, own,
            ))  # fmt: skip


def dense(e: Emitter, step: Step) -> None:
    """A product with a matrix is a 1 x 1 convolution over its rows."""
    op = step.op
    x, weight, _ = step.types
    array, params = _constants(step)
    rows, (deep, wide) = prod(x.shape[:-1]), weight.shape
    make = windows.conv(POINT, _zero(x), op.out.zero, op.low, op.high)
    given = Weights(e.constant(array.T), e.constant(params), own=True)
    sizes, made = (1, rows, deep), (1, rows, wide)
    windows.emit(e, Pass(step.places[0], sizes, deep, step.y, made, wide, POINT, 0, ((0, 1), (0, rows)), make, given))


def max_pool(e: Emitter, step: Step) -> None:
    x, out = step.types[0], step.out
    if x.dtype != "uint8":
        raise Refusal(f"expected uint8, got {x}")
    _pool(e, x, out, step.places[0], step.y, step.op.window, 0, windows.largest(step.op.window))


def mean(e: Emitter, step: Step) -> None:
    x, out = step.types[0], step.out
    window = Window(_picture(x)[:2], (1, 1), (0, 0, 0, 0), (1, 1))
    make = windows.mean(window, _zero(x), *_factor(_scale(x), step.op.out, prod(window.kernel)), step.op.out.zero)
    _pool(e, x, out, step.places[0], step.y, window, _zero(x), make)


def average_pool(e: Emitter, step: Step) -> None:
    """Windows of one count at a time: at the border a mean may be over fewer values."""
    op = step.op
    x, out = step.types[0], step.out
    _picture(x)
    counts = [_counts(op, axis, x.spatial[axis], out.spatial[axis]) for axis in range(2)]
    for rows in _runs(counts[0]):
        for columns in _runs(counts[1]):
            count = counts[0][rows[0]] * counts[1][columns[0]]
            make = windows.mean(op.window, _zero(x), *_factor(_scale(x), op.out, count), op.out.zero)
            _pool(e, x, out, step.places[0], step.y, op.window, _zero(x), make, (rows, columns))


def add(e: Emitter, step: Step) -> None:
    op = step.op
    a, b = step.types
    wide = float(op.out.scale)
    try:
        ma, mb, shift = factors(_scale(a) / wide, _scale(b) / wide)
    except RangeError as error:
        raise Refusal(f"its scales: {error}") from None
    tail = (_zero(a), ma, _zero(b), mb, shift, op.out.zero, op.low, op.high)
    _two(e, step, lambda *head: Add._make((*head, *tail)))


def multiply(e: Emitter, step: Step) -> None:
    op = step.op
    a, b = step.types
    tail = (_zero(a), _zero(b), *_factor(_scale(a) * _scale(b), op.out), op.out.zero)
    _two(e, step, lambda *head: Multiply._make((*head, *tail)))


def table(e: Emitter, step: Step) -> None:
    entries = step.constants[1]
    if entries is None:
        raise Refusal("expected a table that is known before it runs, got one that is computed")
    _lookup(e, step.places[0], step.y, prod(step.out.shape), entries)


def flip_sign(e: Emitter, step: Step) -> None:
    _lookup(e, step.places[0], step.y, prod(step.out.shape), np.arange(256, dtype=np.uint8) ^ 0x80)


def _lookup(e: Emitter, x: Place, y: Place, count: int, entries: np.ndarray) -> None:
    place = e.constant(np.asarray(entries, np.uint8))
    room = (e.local_bytes - 256) // 2 // 16 * 16
    e.load_bytes(place, 0, 256)
    for begin in range(0, count, room):
        size = min(room, count - begin)
        e.load_bytes(x.at(begin), 256, size)
        e.emit(Lookup(256, 0, 256 + room, size))
        e.store_bytes(256 + room, y.at(begin), size)


def _two(e: Emitter, step: Step, make: Callable[..., Instruction]) -> None:
    """Tiles of an operator over two values, either of which may be broadcast."""
    out = step.out.shape
    reads = [broadcast_steps(told.shape, out) for told in step.types]
    box: Box = collapsed(out, *reads, row_steps(out))
    (at_a, at_b, at_y), _ = placed(*[room := e.local_bytes // 3 // 16 * 16] * 3)
    for index, sizes in pieces(box, room):
        last, counts = len(sizes), three(sizes, 1)
        inner: list[int] = []
        for place, steps, local in ((step.places[0], box.steps[0], at_a), (step.places[1], box.steps[1], at_b)):
            # What is broadcast is loaded once and read again.
            short = [1 if step == 0 else size for size, step in zip(sizes, steps[-last:], strict=True)]
            dense = row_steps(short)
            e.load(place.at(offset(index, steps)), local, three(short, 1), three(steps[-last:], 0), three(dense, 0))
            inner += three([0 if step == 0 else own for step, own in zip(steps[-last:], dense, strict=True)], 0)
        e.emit(make(at_a, at_b, at_y, *counts, *inner))
        e.store(at_y, step.y.at(offset(index, box.steps[2])), counts, three(box.steps[2][-last:], 0), three(row_steps(sizes), 0))


def _pool(
    e: Emitter, x: Type, out: Type, place: Place, y: Place, window: Window, fill: int, make: Make,
    region: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> None:  # fmt: skip
    sizes, made = _picture(x), _picture(out)
    for n in range(x.shape[0]):
        windows.emit(e, Pass(
            place.at(n * prod(sizes)), sizes, x.channels, y.at(n * prod(made)), made, out.channels, window, fill,
            region or ((0, made[0]), (0, made[1])), make,
        ))  # fmt: skip


def _picture(told: Type) -> Sizes:
    if told.rank != 4 or told.layout != "nhwc":
        raise Refusal(f"expected a picture with two spatial axes, channels last, got {told}")
    return (*told.shape[1:3], told.channels)  # type: ignore[return-value]


def _constants(step: Step) -> tuple[np.ndarray, np.ndarray]:
    """Weights as they are, and parameters (channels, 4) int32. Raises Refusal where sums may pass 32 bits."""
    _, weight, bias = step.constants
    if weight is None or bias is None:
        raise Refusal("expected weights and bias that are known before it runs, got some that are computed")
    x, told = step.types[0], step.types[1].quantization
    assert told is not None
    channels = len(bias)
    zeros = np.broadcast_to(np.array(told.zeros, np.int64), channels)
    rows = weight.astype(np.int64).reshape(channels, -1) if isinstance(step.op, QConv) else weight.T.astype(np.int64)
    most = np.abs(rows - zeros[:, None]).sum(1) * max(_zero(x), 255 - _zero(x)) + np.abs(bias.astype(np.int64))
    if most.max(initial=0) >= 2**31:
        raise Refusal(f"expected sums below 2^31, got weights with which they can reach {int(most.max())}")
    found = [_factor(_scale(x) * scale, step.op.out) for scale in np.broadcast_to(np.array(told.scales, np.float64), channels).tolist()]
    params = np.stack([bias, *np.array(found, np.int64).T, zeros], 1)
    return weight, params.astype("<i4")


def _factor(scale: float, out: Quantization, count: int = 1) -> tuple[int, int]:
    try:
        return factor(scale / (float(out.scale) * count))
    except RangeError as error:
        raise Refusal(f"its scales: {error}") from None


def _counts(op: QAveragePool, axis: int, size: int, out: int) -> list[int]:
    """How many values each window along an axis is divided by."""
    kernel, stride, dilation = op.window.kernel[axis], op.window.strides[axis], op.window.dilations[axis]
    before, after = op.window.pads[axis], op.window.pads[axis + 2]
    over = op.overhang[axis] if op.overhang else 0
    first, end = (-before, size + after - over) if op.padding_counts else (0, size)
    starts = range(-before, -before + out * stride, stride)
    return [sum(first <= start + tap * dilation < end for tap in range(kernel)) for start in starts]


def _runs(counts: list[int]) -> list[tuple[int, int]]:
    """Where equal counts begin and end."""
    found, at = [], 0
    for _, group in groupby(counts):
        found.append((at, at := at + len(list(group))))
    return found


def _zero(told: Type) -> int:
    assert told.quantization is not None
    return told.quantization.zero


def _scale(told: Type) -> float:
    assert told.quantization is not None
    return float(told.quantization.scale)


LAYERS: Mapping[type[Op], Callable[[Emitter, Step], None]] = {
    QConv: conv, QDense: dense, MaxPool: max_pool, QMean: mean, QAveragePool: average_pool, QAdd: add, QMul: multiply, Table: table,
    FlipSign: flip_sign,
}  # fmt: skip
