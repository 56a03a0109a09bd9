"""Convolutions and products of matrices."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import inf
from typing import TypedDict

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Call, Context, Part, Words, pixels, row_stride
from devices.native.calls.elementwise import bounds, curve, quantization
from devices.native.ir import Quantization
from devices.native.kernels import pack, pack_winograd, sites, tiles
from devices.native.kernels.catalogue import BYTES, FLOATS
from devices.native.kernels.layout import CHANNELS, OVER_READ, PICTURE, round_up
from devices.native.lower import Operand, Step
from devices.native.operators.spatial import Window
from devices.native.reference.quantized import output_scales

FEW_PIXELS, MANY_PANELS = 64, 32
"""Products with at most so many pixels and at least so many panels of outputs are shared out by these."""


class Packed(TypedDict):
    """What the packing of 8-bit weights is told besides the weights."""

    x_zero: int
    bias: np.ndarray
    scale: np.ndarray
    weight_zero: np.ndarray | int


def q_conv(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.QConv)
    x, weight, bias = step.inputs
    op, out = step.op, step.output
    if not (_is_image(x) and _fits(out) and weight.region == bias.region == "constants"):
        return None
    w = context.constant(weight)
    given, made = quantization(x), _packed(context, step, op.out)
    limits: Words = {"zero": op.out.zero, "low": op.low, "high": op.high}
    try:
        if _is_depthwise(op.group, x, w):
            kernel = pack.depthwise_kernel(_pair(op.window.kernel), _pair(op.window.strides), _pair(op.window.dilations))
            d = pack.depthwise(context.isa, w[..., 0].transpose(1, 2, 0), kernel, **made)
            words = {"x": Part(x), "w": d.data, "bias": d.bias, "scale": d.scale, **d.numbers(), **window_words(x, op.window, given.zero)}
            return [Call(kernel, _image_rows(out), {**words, **limits, **_into(out)})]
        if op.group != 1:
            return None
        if (call := _winograd(context, step, w, op.window, made, limits)) is not None:
            return [call]
        values = w.transpose(1, 2, 3, 0).reshape(-1, w.shape[3], w.shape[0])
        return [_product(context, step, values, op.window, made, limits)]
    except pack.PackError:
        return None


def q_dense(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.QDense)
    x, weight, bias = step.inputs
    op, out = step.op, step.output
    if not (_fits(out) and x.type.rank > 1 and weight.region == bias.region == "constants"):
        return None
    made = _packed(context, step, op.out)
    try:
        return [_product(context, step, context.constant(weight)[None], None, made, {"zero": op.out.zero, "low": op.low, "high": op.high})]
    except pack.PackError:
        return None


def real_conv(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.RealConv)
    x, weight, bias = step.inputs
    if not (_is_image(x) and _fits(step.output) and weight.region == bias.region == "constants") or step.op.group != 1:
        return None
    w = context.constant(weight)
    return _real(context, step, w.transpose(1, 2, 3, 0).reshape(-1, w.shape[3], w.shape[0]), step.op.window)


def real_dense(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.RealDense)
    x, weight, bias = step.inputs
    if not (_fits(step.output) and x.type.rank > 1 and weight.region == bias.region == "constants"):
        return None
    return _real(context, step, context.constant(weight)[None], None)


def _real(context: Context, step: Step, values: np.ndarray, window: Window | None) -> list[Call] | None:
    try:
        return [_product(context, step, values, window, _packed(context, step, None), {"zero": 0, "low": 0, "high": 0}, FLOATS)]
    except pack.PackError:
        return None


def conv(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Conv)
    x, weight, bias = step.inputs[:3]
    op, out = step.op, step.output
    if not (_is_image(x) and _fits(out) and weight.region == bias.region == "constants"):
        return None
    tail = _tail(op.activation, step.inputs[3] if op.residual else None, out)
    if tail is None:
        return None
    limits, more = tail
    w, start = context.constant(weight), context.constant(bias)
    if _is_depthwise(op.group, x, w):
        taps = _pair(op.window.kernel)
        d = pack.float_depthwise(w[..., 0].transpose(1, 2, 0), bias=start)
        kernel = f"depthwise_f32_{taps[0]}x{taps[1]}" if taps in ((3, 3), (5, 5)) else "depthwise_f32_any"
        words: Words = {"x": Part(x), "w": d.data, "bias": d.bias, "channels": round_up(w.shape[0], CHANNELS)}
        return [Call(kernel, _image_rows(out), {**words, **window_words(x, op.window, 0.0), **limits, **_into(out)}), *more]
    if op.group != 1:
        return None
    if (call := _float_winograd(context, step, w, start, op.window, limits)) is not None:
        return [call, *more]
    values = w.transpose(1, 2, 3, 0).reshape(-1, w.shape[3], w.shape[0])
    return [_float_product(context, step, values, start, _sites(x, op.window, 0.0), limits), *more]


def conv_transpose(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.ConvTranspose)
    x, weight, bias = step.inputs
    op, out = step.op, step.output
    if not (_is_image(x) and _fits(out) and weight.region == bias.region == "constants") or op.group != 1:
        return None
    tail = _tail(op.activation, None, out)
    if tail is None:
        return None
    window = op.window
    reached = sites.transposed(
        _pair(x.type.spatial), row_stride(x), _pair(window.kernel), strides=_pair(window.strides), pads=window.pads,
        dilations=_pair(window.dilations), output_padding=_pair(op.extra),
    )  # fmt: skip
    values = context.constant(weight)
    taps = values.transpose(2, 3, 0, 1).reshape(-1, values.shape[0], values.shape[1])
    seen: Words = {"pad": _pad_row(x, 0.0), **reached.words()}
    return [_float_product(context, step, taps, context.constant(bias), seen, tail[0]), *tail[1]]


def dense(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Dense)
    x, weight, bias = step.inputs
    if not (_fits(step.output) and x.type.rank > 1 and weight.region == bias.region == "constants"):
        return None
    tail = _tail(step.op.activation, None, step.output)
    if tail is None:
        return None
    return [_float_product(context, step, context.constant(weight)[None], context.constant(bias), {}, tail[0]), *tail[1]]


def window_words(x: Operand, window: Window, fill: float) -> Words:
    """The site words of a window over an image, and a row of what lies outside of it."""
    found = sites.windows(
        _pair(x.type.spatial), row_stride(x), _pair(window.kernel), strides=_pair(window.strides), pads=window.pads,
        dilations=_pair(window.dilations),
    )  # fmt: skip
    return {"pad": _pad_row(x, fill), **found.words()}


def _packed(context: Context, step: Step, out: Quantization | None) -> Packed:
    x, weight, bias = step.inputs
    given, weights = quantization(x), quantization(weight)
    zeros = np.array(weights.zeros) if any(weights.zeros) else 0
    scale = output_scales(given, weights, out)
    return {"x_zero": given.zero, "bias": context.constant(bias), "scale": scale, "weight_zero": zeros}


def _winograd(context: Context, step: Step, w: np.ndarray, window: Window, made: Packed, limits: Words) -> Call | None:
    """The convolution in 4 multiplications where the direct one takes 9 (Lavin and Gray, arXiv:1509.09308), where it is exact.

    Not where an instruction adds four products of bytes: it takes those of int16 two at a time, and loses that way."""
    x = step.inputs[0]
    if context.isa.group == 4 or not _is_winograd(x, w, window):
        return None
    try:
        packed = pack_winograd.integers(context.isa, w.transpose(1, 2, 3, 0), **made)
    except pack.PackError:
        return None
    return _blocks(step, "winograd_u8", window, made["x_zero"], {
        "w": packed.data, "bias": packed.bias, "scale": packed.scale, **packed.numbers(context.isa), **limits,
    })  # fmt: skip


def _float_winograd(context: Context, step: Step, w: np.ndarray, bias: np.ndarray, window: Window, limits: Words) -> Call | None:
    """The same in float32, for images without padding channels: it reads those, and they may hold what is no number."""
    x = step.inputs[0]
    if not _is_winograd(x, w, window) or x.type.channels != x.stride:
        return None
    packed = pack_winograd.floats(w.transpose(1, 2, 3, 0), bias=bias)
    return _blocks(step, "winograd_f32", window, 0.0, {"w": packed.data, "bias": packed.bias, **packed.numbers(context.isa), **limits})


def _is_winograd(x: Operand, w: np.ndarray, window: Window) -> bool:
    steps = {*window.strides, *window.dilations}
    return window.kernel == (3, 3) and steps == {1} and x.stride % CHANNELS == 0 and min(w.shape[3], w.shape[0]) >= CHANNELS


def _blocks(step: Step, kernel: str, window: Window, fill: float, words: Words) -> Call:
    x, out = step.inputs[0], step.output
    seen, size = sites.winograd(_pair(x.type.spatial), row_stride(x), pads=window.pads)
    blocks = out.type.shape[0] * -(-size["pixels_y"] // 2) * -(-size["pixels_x"] // 2)
    return Call(kernel, blocks, {"x": Part(x), "pad": _pad_row(x, fill), **seen.words(), **size, **words, **_into(out)})


def _product(
    context: Context, step: Step, values: np.ndarray, window: Window | None, made: Packed, limits: Words, kind: int = BYTES
) -> Call:  # fmt: skip
    x, out = step.inputs[0], step.output
    safe = _is_pair_safe(context, values, made)
    rows, width = _tile(context, step, values, "pair-safe" if safe else "bytes")
    packed = pack.weights(context.isa, values, width=width, pair_safe=safe, requantized=kind == BYTES, **made)
    words: Words = {
        "a": Part(x), "b": packed.data, "bias": packed.bias, "scale": packed.scale, "weight_zero": packed.weight_zero, "kind": kind,
        "stride_a": row_stride(x), **packed.numbers(context.isa, rows), **_sites(x, window, quantization(x).zero),
    }  # fmt: skip
    return _multiplied(f"gemm_u8_{width}" + ("_pairsafe" if safe else ""), width, out, {**words, **limits, **_into(out)})


def _tile(context: Context, step: Step, values: np.ndarray, kind: tiles.Kind) -> tuple[int, int]:
    """Rows and columns of the tile; the columns of those that the same weights were packed for before."""
    outputs = values.shape[2]
    key = step.inputs[1].at, outputs
    rows, width = tiles.choose(context.isa, pixels(step.output), outputs, kind, width=context.widths.get(key))
    context.widths[key] = width
    return rows, width


def _is_pair_safe(context: Context, values: np.ndarray, made: Packed) -> bool:
    """Whether the faster kernel of AVX2 is exact for these weights [taps, channels, outputs]: `ace quantize --pair-safe` makes such."""
    if context.isa.dot != "pmaddwd" or values.dtype != np.int8 or np.any(made["weight_zero"]):
        return False
    return pack.is_pair_safe(np.pad(values, ((0, 0), (0, values.shape[1] % 2), (0, 0))))


def _float_product(context: Context, step: Step, values: np.ndarray, bias: np.ndarray, seen: Words, limits: Words) -> Call:
    x, out = step.inputs[0], step.output
    rows, width = _tile(context, step, values, "floats")
    # The padding channels of a picture are 0: with them the taps of a row are one run.
    packed = pack.float_weights(values, width=width, bias=bias, depth=PICTURE if x.stride == PICTURE else 0)
    words: Words = {
        "a": Part(x), "b": packed.data, "bias": packed.bias, "stride_a": row_stride(x), **packed.numbers(rows), **seen,
    }  # fmt: skip
    return _multiplied(f"gemm_f32_{width}", width, out, {**words, **limits, **_into(out)})


def _multiplied(kernel: str, width: int, out: Operand, words: Words) -> Call:
    """The call of a product. Few pixels are shared out by their outputs: then each thread brings its part of the weights only."""
    panels = -(-out.type.shape[-1] // width)
    if "columns" not in words and (pixels(out) == 1 or (pixels(out) <= FEW_PIXELS and panels >= MANY_PANELS)):
        return Call(kernel, panels, {**words, "panels": pixels(out)})
    return Call(kernel, pixels(out), words)


def _tail(activation: ops.Unary | None, residual: Operand | None, out: Operand) -> tuple[Words, list[Call]] | None:
    """The bounds of a float product, and calls for what comes after it. None: no kernel has the activation."""
    limits = bounds(activation)
    made = None if activation is None or limits is not None else curve(activation)
    if limits is None and made is None:
        return None
    open_ended: Words = {"low": -inf, "high": inf}
    kept: Words = open_ended if limits is None else {"low": float(limits[0]), "high": float(limits[1])}
    over: Words = {"channels": round_up(out.type.shape[-1], CHANNELS), **_into(out)}
    more = []
    if residual is not None:
        both: Words = {"a": Part(out), "b": Part(residual), "stride_a": row_stride(out), "stride_b": row_stride(residual)}
        more.append(Call("add_f32", pixels(out), {**both, **over, **kept}))
    if made is not None:
        more.append(Call(made[0], pixels(out), {"x": Part(out), "stride_x": row_stride(out), **over, **made[1]}))
    return (open_ended if residual is not None else kept), more


def _sites(x: Operand, window: Window | None, fill: float) -> Words:
    plain = window is None or (set(window.kernel) | set(window.strides) == {1} and not any(window.pads))
    return {} if plain or window is None else window_words(x, window, fill)


def _pad_row(x: Operand, fill: float) -> np.ndarray:
    told = np.dtype(x.type.dtype)
    return np.full(x.type.spatial[1] * x.stride + OVER_READ // told.itemsize, fill, told)


def _into(out: Operand) -> Words:
    return {"out": Part(out), "stride_out": row_stride(out)}


def _is_image(x: Operand) -> bool:
    return x.type.layout == "nhwc" and x.type.rank == 4 and x.region != "constants"


def _fits(out: Operand) -> bool:
    """Whether rows have room for what kernels write past their end."""
    return out.stride >= round_up(out.type.shape[-1], CHANNELS)


def _is_depthwise(group: int, x: Operand, weight: np.ndarray) -> bool:
    return group == x.type.channels == weight.shape[0] and group > 1 and x.stride >= round_up(group, CHANNELS)


def _image_rows(out: Operand) -> int:
    return out.type.shape[0] * out.type.shape[1]


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    first, second = values
    return first, second
