"""The instructions: flat records of whole numbers. Addresses named `local` or of an operand are bytes of the local memory.

Values are uint8; pictures lie as (height, width, channels) without gaps, already padded. `Conv` has weights (out_channels, kernel_height,
kernel_width, channels), `Depthwise` (kernel_height, kernel_width, channels), int8 both, and `params` four int32 a channel: bias,
multiplier, shift, zero point of the weights.
"""

from __future__ import annotations

from typing import NamedTuple


class Load(NamedTuple):
    """Bytes into the local memory: n0 x n1 x n2 of them, a byte's neighbours s0, s1, s2 bytes apart there and l0, l1, l2 here."""

    space: int
    address: int
    local: int
    n0: int
    n1: int
    n2: int
    s0: int
    s1: int
    s2: int
    l0: int
    l1: int
    l2: int


class Store(NamedTuple):
    """The other way: from the local memory (steps l0, l1, l2) into a space (steps s0, s1, s2)."""

    space: int
    address: int
    local: int
    n0: int
    n1: int
    n2: int
    s0: int
    s1: int
    s2: int
    l0: int
    l1: int
    l2: int


class Fill(NamedTuple):
    """One byte, so many times."""

    local: int
    length: int
    value: int


class Conv(NamedTuple):
    """y = requantized(bias + sum of (x - zero_x) * (w - zero_w)), each output channel over all channels."""

    x: int
    height: int
    width: int
    channels: int
    weights: int
    params: int
    y: int
    out_height: int
    out_width: int
    out_channels: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int
    zero_x: int
    zero_y: int
    low: int
    high: int


class Depthwise(NamedTuple):
    """The same, each output channel over its own channel."""

    x: int
    height: int
    width: int
    channels: int
    weights: int
    params: int
    y: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int
    zero_x: int
    zero_y: int
    low: int
    high: int


class Largest(NamedTuple):
    """y = the largest value under the window."""

    x: int
    height: int
    width: int
    channels: int
    y: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int


class Mean(NamedTuple):
    """y = requantized(sum of (x - zero_x) under the window)."""

    x: int
    height: int
    width: int
    channels: int
    y: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int
    zero_x: int
    multiplier: int
    shift: int
    zero_y: int


class Add(NamedTuple):
    """y = clamp((((a - zero_a) * multiplier_a + (b - zero_b) * multiplier_b + 2^(shift - 1)) >> shift) + zero_y, low, high) in int32."""

    a: int
    b: int
    y: int
    n0: int
    n1: int
    n2: int
    a0: int
    a1: int
    a2: int
    b0: int
    b1: int
    b2: int
    zero_a: int
    multiplier_a: int
    zero_b: int
    multiplier_b: int
    shift: int
    zero_y: int
    low: int
    high: int


class Multiply(NamedTuple):
    """y = requantized((a - zero_a) * (b - zero_b))."""

    a: int
    b: int
    y: int
    n0: int
    n1: int
    n2: int
    a0: int
    a1: int
    a2: int
    b0: int
    b1: int
    b2: int
    zero_a: int
    zero_b: int
    multiplier: int
    shift: int
    zero_y: int


class Lookup(NamedTuple):
    """y = table[x], 256 entries."""

    x: int
    table: int
    y: int
    length: int


Instruction = Load | Store | Fill | Conv | Depthwise | Largest | Mean | Add | Multiply | Lookup
KINDS: tuple[type[Instruction], ...] = (Load, Store, Fill, Conv, Depthwise, Largest, Mean, Add, Multiply, Lookup)
"""By operation code, from 1 on."""
MOST_INSTRUCTIONS = 2**20
WORDS = 21
"""int32 of one record: its operation code and its fields, zeros behind them."""
PARAMS = 4
"""int32 of a channel's parameters: bias, multiplier, shift, zero point of the weights."""


def work(instruction: Instruction) -> tuple[int, int]:
    """Multiplications, and bytes moved between the memories."""
    match instruction:
        case Load() | Store() as move:
            return 0, move.n0 * move.n1 * move.n2
        case Conv() as conv:
            taps = conv.kernel_height * conv.kernel_width * conv.channels
            return conv.out_height * conv.out_width * conv.out_channels * taps, 0
        case Depthwise() | Largest() | Mean() as window:
            taps = window.kernel_height * window.kernel_width
            return window.out_height * window.out_width * window.channels * taps, 0
        case Add() | Multiply() as two:
            return 2 * two.n0 * two.n1 * two.n2, 0
        case Lookup() as one:
            return one.length, 0
        case _:
            return 0, 0
