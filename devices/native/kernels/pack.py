"""Weights in the order in which kernels read them. NumPy only; done when a program is prepared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.native.isa import Isa
from devices.native.kernels.layout import CHANNELS, SCRATCH_ALIGN, round_up

DEPTH = 4
"""Depths are padded to a multiple of it."""

PAIR_BYTES = 4 * CHANNELS
"""The weights of two taps of a depthwise convolution, for sixteen channels."""

CARRY_PAIRS = 10
"""Pairs that `depthwise_u8_3x3_stride1` makes of its weights."""


class PackError(ValueError):
    """Weights that the kernels cannot multiply exactly: says which channel, expected and got."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Packed weights of `outputs` outputs in tiles of `width`, `taps` taps of `depth` (padded) activations each.

    `data` int8 [tiles, taps * depth / group, width, group]; `bias` int32, `scale` float32 and `weight_zero` int32 [tiles * width];
    `weight_zero` is None where all are 0. `pair_safe`: for the kernel of that name.
    """

    data: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    weight_zero: np.ndarray | None
    outputs: int
    width: int
    taps: int
    depth: int
    pair_safe: bool

    def numbers(self, isa: Isa, tile_rows: int) -> dict[str, int]:
        """The words of the product that follow from the weights."""
        row, scratch = scratch_bytes(isa, self.taps * self.depth, tile_rows, pair_safe=self.pair_safe)
        return {"depth": self.depth, "outputs": self.outputs, "tile_rows": tile_rows, "prepared_bytes": row, "scratch_bytes": scratch}


def weights(
    isa: Isa,
    values: np.ndarray,
    *,
    width: int,
    x_zero: int = 0,
    bias: np.ndarray | None = None,
    scale: np.ndarray | float = 1.0,
    weight_zero: np.ndarray | int = 0,
    pair_safe: bool = False,
    requantized: bool = True,
) -> Weights:
    """Packs int8 or uint8 `values` [taps, channels, outputs] with zero points `weight_zero` (one, or one an output).

    `x_zero` is the activations' zero point; `bias` int32 [outputs]; `scale` float32, one or [outputs]: x_scale * weight_scale / y_scale.
    Raises PackError where the int32 sum times its scale could leave int32 (`requantized` outputs only), where a scale is not finite, or
    where `pair_safe` is asked for weights that are not.
    """
    taps, channels, outputs = values.shape
    shift = 128 if values.dtype == np.uint8 else 0
    signed = values.astype(np.int64) - shift
    zeros = np.broadcast_to(np.asarray(weight_zero, np.int64) - shift, (outputs,))
    scales = np.broadcast_to(np.asarray(scale, np.float32), (outputs,))
    start = np.zeros(outputs, np.int64) if bias is None else bias.astype(np.int64)
    check_finite(scales)
    if requantized:
        check_range(signed - zeros, start, x_zero, scales)

    depth, padded = round_up(channels, DEPTH), round_up(outputs, width)
    full = np.zeros((taps, depth, padded), np.int64)
    full[:, :, :outputs] = zeros  # what lies past the channels counts as a weight of zero
    full[:, :channels, :outputs] = signed
    total = np.zeros(padded, np.int64)
    total[:outputs] = start - x_zero * (signed - zeros).sum((0, 1))
    if isa.dot == "sdot" and not pair_safe:
        total += 128 * full.sum((0, 1))
    group = 4 if pair_safe else isa.group
    if pair_safe and not is_pair_safe(full):
        raise PackError("expected weights whose pairs each sum to at most 128 on either side of 0, got others; use the exact kernel")
    data = full.reshape(taps * depth // group, group, padded // width, width).transpose(2, 0, 3, 1).astype(np.int8)
    all_zeros = np.zeros(padded, np.int32)
    all_zeros[:outputs] = zeros
    return Weights(
        np.ascontiguousarray(data),
        total.astype(np.int32),
        np.concatenate([scales, np.zeros(padded - outputs, np.float32)]),
        all_zeros if zeros.any() else None,
        outputs, width, taps, depth, pair_safe,
    )  # fmt: skip


def is_pair_safe(values: np.ndarray) -> bool:
    """Whether no sum of two neighbours along the depth, each times a byte, leaves int16.

    `values` [taps, depth, outputs] of an even depth. 255 * 128 = 32640 fits.
    """
    pairs = values.reshape(values.shape[0], values.shape[1] // 2, 2, values.shape[2]).astype(np.int64)
    return bool((np.maximum(pairs, 0).sum(2) <= 128).all() and (np.maximum(-pairs, 0).sum(2) <= 128).all())


def scratch_bytes(isa: Isa, depth: int, tile_rows: int, *, pair_safe: bool = False) -> tuple[int, int]:
    """(bytes of a prepared row, bytes of scratch memory) for `depth` activations in all taps."""
    size = 2 if isa.widens and not pair_safe else 1
    row = round_up(depth * size + 32, SCRATCH_ALIGN) | SCRATCH_ALIGN  # an odd number of cache lines: rows fall into different sets
    return row, 2 * SCRATCH_ALIGN + tile_rows * row


def check_range(values: np.ndarray, bias: np.ndarray, x_zero: int, scales: np.ndarray) -> None:
    """Raises PackError where a sum of bytes times `values` [taps, channels, outputs] and `bias` could leave int32 once it is scaled."""
    most = np.abs(values).sum((0, 1)) * max(255 - x_zero, x_zero) + np.abs(bias)
    reach = most * np.abs(scales.astype(np.float64))
    if (reach >= 2**31 - 1024).any():
        channel = int(reach.argmax())
        raise PackError(f"expected sums that stay below 2^31 after scaling, got up to {reach[channel]:.3g} for output {channel}")


def check_finite(scales: np.ndarray) -> None:
    """Raises PackError for a scale that is infinite or NaN."""
    if not np.isfinite(scales).all():
        channel = int(np.argmin(np.isfinite(scales)))
        raise PackError(f"expected finite scales, got {scales[channel]} for output {channel}")


@dataclass(frozen=True, slots=True)
class DepthwiseWeights:
    """Packed weights of a depthwise convolution: `data` uint8 [blocks of 16 channels, block_bytes], `bias` int32, `scale` float32."""

    data: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    channels: int
    kernel: str
    taps: int

    def numbers(self) -> dict[str, int]:
        """The words of the convolution that follow from the weights."""
        carries, blocks = self.kernel.endswith("stride1"), len(self.data)
        scratch = PAIR_BYTES * (CARRY_PAIRS if carries else 0 if self.kernel.endswith("any") else blocks * ((self.taps + 1) // 2))
        return {"channels": CHANNELS * blocks, "block_bytes": self.data.shape[1], "scratch_bytes": scratch}


def depthwise_kernel(taps: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int] = (1, 1)) -> str:
    """Name of the kernel for a window (height, width) with these strides and dilations."""
    if (taps, strides, dilations) == ((3, 3), (1, 1), (1, 1)):
        return "depthwise_u8_3x3_stride1"
    return f"depthwise_u8_{taps[0]}x{taps[1]}" if taps in ((3, 3), (5, 5)) else "depthwise_u8_any"


def depthwise(
    isa: Isa,
    values: np.ndarray,
    kernel: str,
    *,
    x_zero: int = 0,
    bias: np.ndarray | None = None,
    scale: np.ndarray | float = 1.0,
    weight_zero: np.ndarray | int = 0,
) -> DepthwiseWeights:
    """Packs int8 or uint8 `values` [taps_y, taps_x, channels] for the kernel that `depthwise_kernel` names; the rest as in `weights`."""
    height, width, channels = values.shape
    zeros = np.asarray(weight_zero, np.int64)
    signed = values.astype(np.int64) - zeros
    scales = np.broadcast_to(np.asarray(scale, np.float32), (channels,))
    start = np.zeros(channels, np.int64) if bias is None else bias.astype(np.int64)
    check_finite(scales)
    check_range(signed.reshape(height * width, 1, channels), start, x_zero, scales)
    padded = round_up(channels, CHANNELS)
    taps = np.zeros((height, width, padded), np.int16)
    taps[:, :, :channels] = signed
    if kernel.endswith("any"):
        data = _alone(isa, taps.reshape(height * width, padded))
    else:  # [block, tap, channel], as bytes where they fit
        blocks = taps.reshape(height * width, -1, CHANNELS).transpose(1, 0, 2)
        data = blocks.astype(np.int8) if taps.min() >= -128 and taps.max() <= 127 else blocks
    lanes = np.array(block_order(isa))
    full_bias, full_scale = np.zeros(padded, np.int32), np.zeros(padded, np.float32)
    full_bias[:channels] = start - x_zero * signed.sum((0, 1))
    full_scale[:channels] = scales
    return DepthwiseWeights(
        np.ascontiguousarray(data).reshape(padded // CHANNELS, -1).view(np.uint8),
        full_bias.reshape(-1, CHANNELS)[:, lanes].reshape(-1),
        full_scale.reshape(-1, CHANNELS)[:, lanes].reshape(-1),
        channels, kernel, height * width,
    )  # fmt: skip


def _alone(isa: Isa, taps: np.ndarray) -> np.ndarray:
    """Taps int16 [taps, channels], each in a pair with zeros."""
    pairs = np.stack([taps, np.zeros_like(taps)], 1).reshape(len(taps), 2, -1, CHANNELS)
    # [block, pair, channel in the order of the sums, tap] where taps alternate, otherwise [block, pair, tap, channel].
    return pairs[..., block_order(isa)].transpose(2, 0, 3, 1) if isa.interleaves else pairs.transpose(2, 0, 1, 3)


def block_order(isa: Isa) -> list[int]:
    """Which of sixteen channels each int32 of a depthwise kernel's sums belongs to."""
    return [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15] if isa.interleaves else list(range(CHANNELS))


@dataclass(frozen=True, slots=True)
class FloatWeights:
    """Packed float32 weights and `bias`: `data` [tiles, taps * depth, width] or, depthwise, [blocks of 16 channels, taps, 16]."""

    data: np.ndarray
    bias: np.ndarray
    outputs: int
    taps: int
    depth: int

    def numbers(self, tile_rows: int) -> dict[str, int]:
        """The words of `gemm_f32` that follow from the weights."""
        row = round_up(4 * self.taps * self.depth + 32, SCRATCH_ALIGN) | SCRATCH_ALIGN
        scratch = tile_rows * row + SCRATCH_ALIGN
        return {"depth": self.depth, "outputs": self.outputs, "tile_rows": tile_rows, "prepared_bytes": row, "scratch_bytes": scratch}


def float_weights(values: np.ndarray, *, width: int, bias: np.ndarray | None = None, depth: int = 0) -> FloatWeights:
    """Packs float32 `values` [taps, channels, outputs] for `gemm_f32_WIDTH`.

    `depth` (default: the channels): elements a tap; a picture's padding channels, which are 0, may be read with weights of 0.
    """
    values = np.pad(values, ((0, 0), (0, max(0, depth - values.shape[1])), (0, 0)))
    taps, channels, outputs = values.shape
    padded = round_up(outputs, width)
    full, start = np.zeros((taps * channels, padded), np.float32), np.zeros(padded, np.float32)
    full[:, :outputs] = values.reshape(-1, outputs)
    start[:outputs] = 0 if bias is None else bias
    data = full.reshape(taps * channels, padded // width, width).transpose(1, 0, 2)
    return FloatWeights(np.ascontiguousarray(data), start, outputs, taps, channels)


def float_depthwise(values: np.ndarray, *, bias: np.ndarray | None = None) -> FloatWeights:
    """Packs float32 `values` [taps_y, taps_x, channels] for `depthwise_f32_…`."""
    height, width, channels = values.shape
    padded = round_up(channels, CHANNELS)
    full, start = np.zeros((height * width, padded), np.float32), np.zeros(padded, np.float32)
    full[:, :channels] = values.reshape(-1, channels)
    start[:channels] = 0 if bias is None else bias
    data = full.reshape(height * width, padded // CHANNELS, CHANNELS).transpose(1, 0, 2)
    return FloatWeights(np.ascontiguousarray(data), start, channels, height * width, 1)


def addition(a: tuple[float, int], b: tuple[float, int], y: tuple[float, int]) -> dict[str, float]:
    """The words of `add_u8` for tensors of these (scale, zero point)."""
    scale_a, scale_b = np.float32(a[0]) / np.float32(y[0]), np.float32(b[0]) / np.float32(y[0])
    shift = np.float32(np.float64(scale_a) * a[1] + np.float64(scale_b * np.float32(b[1])))
    return {"scale_a": float(scale_a), "scale_b": float(scale_b), "constant": float(np.float32(y[1]) - shift)}
