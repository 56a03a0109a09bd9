"""Weights of 3x3 convolutions, transformed for Winograd's F(2x2, 3x3). NumPy only; done when a program is prepared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from devices.native.isa import Isa
from devices.native.kernels.layout import CHANNELS, SCRATCH_ALIGN, round_up
from devices.native.kernels.pack import DEPTH, PackError, check_finite, check_range
from devices.native.kernels.tiles import WINOGRAD_ROWS, WINOGRAD_WIDTH


@dataclass(frozen=True, slots=True)
class WinogradWeights:
    """Transformed 3x3 weights: `data` [outputs / 16, position, depth / group, 16, group], `bias`, `scale` (None: float32)."""

    data: np.ndarray
    bias: np.ndarray
    scale: np.ndarray | None
    outputs: int
    depth: int
    channels: int

    def numbers(self, isa: Isa, tile_rows: int = 12) -> dict[str, int]:
        """The words of the kernel that follow from the weights, for blocks of about `tile_rows` tiles."""
        tile_rows = round_up(tile_rows, WINOGRAD_ROWS[isa.dot])
        scratch = 16 * tile_rows * (self.data.itemsize * self.channels + 4 * WINOGRAD_WIDTH) + SCRATCH_ALIGN
        given = {"channels": self.channels, "depth": self.depth, "outputs": self.outputs}
        return {**given, "tile_rows": tile_rows, "scratch_bytes": scratch}


TWO_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice the weight transformation of F(2x2, 3x3)."""


def integers(
    isa: Isa,
    values: np.ndarray,
    *,
    x_zero: int = 0,
    bias: np.ndarray | None = None,
    scale: np.ndarray | float = 1.0,
    weight_zero: np.ndarray | int = 0,
) -> WinogradWeights:
    """Packs int8 or uint8 `values` [3, 3, channels, outputs] for `winograd_u8`; the rest as in `weights`.

    Raises PackError also where four times a sum could leave int32: then only the direct convolution is exact.
    """
    _, _, channels, outputs = values.shape
    signed = values.astype(np.int64) - np.asarray(weight_zero, np.int64)
    scales = np.broadcast_to(np.asarray(scale, np.float32), (outputs,))
    start = np.zeros(outputs, np.int64) if bias is None else bias.astype(np.int64)
    check_finite(scales)
    check_range(signed.reshape(9, channels, outputs), start, x_zero, scales)
    reach = 4 * 255 * np.abs(signed).sum((0, 1, 2))
    if (reach >= 2**31).any():
        raise PackError(
            f"expected sums below 2^29, got up to {reach.max() // 4} for output {int(reach.argmax())}; use the direct convolution"
        )
    depth, padded = round_up(channels, DEPTH), round_up(outputs, WINOGRAD_WIDTH)
    full = np.zeros((16, depth, padded), np.int16)
    full[:, :channels, :outputs] = np.einsum("ia,abcn,jb->ijcn", TWO_G, signed, TWO_G).reshape(16, channels, outputs)
    group = 1 if "smull" in isa.provides else 2
    data = full.reshape(16, depth // group, group, padded // WINOGRAD_WIDTH, WINOGRAD_WIDTH).transpose(3, 0, 1, 4, 2)
    full_bias, full_scale = np.zeros(padded, np.int32), np.zeros(padded, np.float32)
    full_bias[:outputs] = start - x_zero * signed.sum((0, 1, 2))
    full_scale[:outputs] = scales
    return WinogradWeights(np.ascontiguousarray(data), full_bias, full_scale, outputs, depth, round_up(channels, CHANNELS))


def floats(values: np.ndarray, *, bias: np.ndarray | None = None) -> WinogradWeights:
    """Packs float32 `values` [3, 3, channels, outputs] for `winograd_f32`."""
    _, _, channels, outputs = values.shape
    padded = round_up(outputs, WINOGRAD_WIDTH)
    full, full_bias = np.zeros((16, channels, padded), np.float32), np.zeros(padded, np.float32)
    transformed = np.einsum("ia,abcn,jb->ijcn", TWO_G, values.astype(np.float64), TWO_G) / 4
    full[:, :, :outputs] = transformed.reshape(16, channels, outputs)
    full_bias[:outputs] = 0 if bias is None else bias
    data = full.reshape(16, channels, padded // WINOGRAD_WIDTH, WINOGRAD_WIDTH).transpose(2, 0, 1, 3)
    return WinogradWeights(np.ascontiguousarray(data), full_bias, None, outputs, channels, round_up(channels, CHANNELS))
