"""Sixteen channels at once: products of activations and weights that differ by channel, for depthwise convolution.

Taps go in pairs (a lone one beside zeros), since AVX2 multiplies pairs; the weights of a pair are PAIR_BYTES, in the order of
`Block.pair`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from devices.native.isa import Isa
from devices.native.kernels.emit import Code, Region, Value, f32, i8, i16, i32, lanes, vector
from devices.native.kernels.layout import CHANNELS
from devices.native.kernels.pack import PAIR_BYTES
from devices.native.kernels.requantize import Output, scaled


class Block(Protocol):
    """`parts`: int32 vectors that hold the sums of sixteen channels."""

    parts: int

    def bring(self, code: Code, place: Region) -> Value:
        """Sixteen activations as i16."""
        ...

    def pair(self, code: Code, first: Value, second: Value) -> list[Value]:
        """Two brought taps, made ready to be multiplied any number of times."""
        ...

    def add(self, code: Code, total: Value, part: int, taps: Sequence[Value], weights: Region, offset: int) -> Value:
        """`total`, which is one of the parts, with the pair times its weights at `weights + offset` added."""
        ...


class Interleaved:
    """AVX2: the taps of a pair alternate, `pmaddwd` multiplies and adds both; the halves are those that `packssdw` puts in order again."""

    parts = 2

    def bring(self, code: Code, place: Region) -> Value:
        return code.unsigned(code.load(vector(i8, 16), place), i16)

    def pair(self, code: Code, first: Value, second: Value) -> list[Value]:
        orders = [
            [lane + 16 * tap for quarter in (half, half + 8) for lane in range(quarter, quarter + 4) for tap in (0, 1)] for half in (0, 4)
        ]
        return [code.shuffle(first, second, order) for order in orders]

    def add(self, code: Code, total: Value, part: int, taps: Sequence[Value], weights: Region, offset: int) -> Value:
        weight = code.load(vector(i16, 16), weights, offset + 32 * part)
        return total + code.call("llvm.x86.avx2.pmadd.wd", vector(i32, 8), taps[part], weight, needs="pmaddwd")


class Apart:
    """Any other instruction set: one tap after the other, four channels an accumulator (on NEON: `smlal`)."""

    parts = 4

    def bring(self, code: Code, place: Region) -> Value:
        return code.unsigned(code.load(vector(i8, 16), place), i16)

    def pair(self, code: Code, first: Value, second: Value) -> list[Value]:
        return [first, second]

    def add(self, code: Code, total: Value, part: int, taps: Sequence[Value], weights: Region, offset: int) -> Value:
        for t, tap in enumerate(taps):
            weight = code.load(vector(i16, 4), weights, offset + 32 * t + 8 * part)
            total = total + self._product(code, code.part(tap, 4 * part, 4), weight)
        return total

    def _product(self, code: Code, tap: Value, weight: Value) -> Value:
        if "smull" in code.isa.provides:
            return code.call("llvm.aarch64.neon.smull.v4i32", vector(i32, 4), tap, weight, needs="smull")
        return code.signed(tap, i32) * code.signed(weight, i32)


def block(isa: Isa) -> Block:
    """How this instruction set multiplies sixteen channels."""
    return Interleaved() if isa.interleaves else Apart()


def add_part(code: Code, way: Block, total: Value, part: int, pairs: Sequence[Sequence[Value]], weights: Region) -> Value:
    """One part of the sums with all pairs added, whose weights follow one another."""
    for i, pair in enumerate(pairs):
        total = way.add(code, total, part, pair, weights, i * PAIR_BYTES)
    return total


def add_pairs(code: Code, way: Block, sums: Sequence[Value], pairs: Sequence[Sequence[Value]], weights: Region) -> list[Value]:
    """All parts of the sums with all pairs added."""
    return [add_part(code, way, total, part, pairs, weights) for part, total in enumerate(sums)]


class Finish:
    """Sums of sixteen channels to bytes, with the bias that the sums started from and the scale of each channel."""

    def __init__(self, code: Code, parts: int, bias: Region, scale: Region, output: Output) -> None:
        self.code, self.parts, self.output = code, parts, output
        count = CHANNELS // parts
        self.bias = [code.load(vector(i32, count), bias, 4 * count * i) for i in range(parts)]
        self.scale = [code.load(vector(f32, count), scale, 4 * count * i) for i in range(parts)]

    def ways(self, pixels: Sequence[Sequence[Value]]) -> Iterator[list[Value]]:
        """Sixteen bytes for each pixel's sums; what is done with them is written for each way of `Output.ways`."""
        code = self.code
        values = [[scaled(code, total, scale) for total, scale in zip(sums, self.scale, strict=True)] for sums in pixels]
        width = lanes(values[0][0].type)
        for plain in self.output.ways(width):
            yield self.output.ordered(values, plain=plain) if width == 8 else [code.join(*self.output.bytes(row)) for row in values]
