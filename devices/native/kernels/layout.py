"""How tensors lie in memory: the one convention that kernels, packed weights and the engine's lowering share.

A tensor is NHWC without gaps between pixels, rows or images, except that a pixel takes `channel_stride(C)` elements. The elements past C
are padding: kernels may write any value there and give results that do not depend on them. Sums over channels are safe because packed
weights are zero (or equal to the weight's zero point) there.

A *picture* has at most 4 channels and a stride of 4 elements, of which those past its channels are 0 in float32. Convolutions (not
depthwise ones) read pictures; `quantize_picture`, `picture_f32`, `widen_SIZE` and the operators' image kernels write them. Every other
kernel needs strides of `channel_stride`.

- Every tensor buffer is followed by OVER_READ readable bytes (its own slack or a neighbour in the arena): kernels may load, never store,
  that far past the end. Nothing is loaded before a buffer.
- The stride does not depend on the instruction set, so that one program runs on all of them.
- A matrix of M rows is a tensor with M pixels. uint8, int32 and float32 tensors have the same stride in elements.
"""

from __future__ import annotations

OVER_READ = 64
"""Bytes behind each tensor that must be readable."""

CHANNELS = 16
"""Channels that kernels handle at once; strides are multiples of it."""

PICTURE = 4
"""Stride of pictures."""

SCRATCH_ALIGN = 64
"""Where scratch memory starts: on a cache line."""


def channel_stride(channels: int) -> int:
    """Elements from one pixel to the next. Raises ValueError for less than one channel.

    >>> channel_stride(1), channel_stride(24), channel_stride(96)
    (16, 32, 96)
    """
    if channels < 1:
        raise ValueError(f"channels: expected at least 1, got {channels}")
    return round_up(channels, CHANNELS)


def round_up(value: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-value // step) * step
