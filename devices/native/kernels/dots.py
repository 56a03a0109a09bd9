"""Sums of products u8 x s8 -> int32 for each way that instruction sets have: one step of four along the depth, for a tile.

A step is given the addresses of each row's next activations and of the packed weights, and adds to the tile's accumulators. All ways are
exact, except `Saturating`, which is exact only for weights that packing has proven pair-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from devices.native.isa import Isa
from devices.native.kernels.emit import Code, Region, Value, i8, i16, i32, vector

STEP = 4
"""Elements of the depth in one step: depths are padded to a multiple of it, with zero weights."""


class Dots(Protocol):
    """`lanes`: int32 elements of one accumulator; `group`: depth elements side by side in packed weights; `row_bytes`: bytes of a prepared
    activation; `offset`: what preparation subtracts from each activation."""

    lanes: int
    group: int
    row_bytes: int
    offset: int

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        """sums[row][j] with the products of four activations of the row and the weights of columns j * lanes … added."""
        ...


class Pairs:
    """AVX2 `pmaddwd`: activations prepared as i16, weights widened as they are loaded; 2 products an element, summed exactly."""

    lanes, group, row_bytes, offset = 8, 2, 2, 0

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        vectors, kind = len(sums[0]), vector(i16, 16)
        for half in range(2):
            columns = [code.signed(code.load(vector(i8, 16), weights, (half * vectors + j) * 16), i16) for j in range(vectors)]
            for row, place in enumerate(rows):
                pair = code.bits(code.splat(code.load(i32, place, half * 4), 8), kind)
                for j, column in enumerate(columns):
                    product = code.call("llvm.x86.avx2.pmadd.wd", vector(i32, 8), pair, column, needs="pmaddwd")
                    sums[row][j] = sums[row][j] + product
        return sums


class Saturating:
    """AVX2 `pmaddubsw`, whose i16 sums of two products saturate: for pair-safe weights only, then exact and faster than `Pairs`."""

    lanes, group, row_bytes, offset = 8, 4, 1, 0

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        vectors, kind = len(sums[0]), vector(i8, 32)
        ones = code.const(vector(i16, 16), 1)
        columns = [code.load(kind, weights, j * 32) for j in range(vectors)]
        for row, place in enumerate(rows):
            quad = code.bits(code.splat(code.load(i32, place), 8), kind)
            for j, column in enumerate(columns):
                pairs = code.call("llvm.x86.avx2.pmadd.ub.sw", vector(i16, 16), quad, column, needs="pmaddubsw")
                sums[row][j] = sums[row][j] + code.call("llvm.x86.avx2.pmadd.wd", vector(i32, 8), pairs, ones, needs="pmaddwd")
        return sums


class Quads:
    """VNNI `vpdpbusd` on 256 or 512 bits: four products an element, added without saturation."""

    group, row_bytes, offset = 4, 1, 0

    def __init__(self, bits: int) -> None:
        self.lanes, self.bits = bits // 32, bits

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        kind, wide = vector(i8, self.bits // 8), vector(i32, self.lanes)
        columns = [code.load(kind, weights, j * self.bits // 8) for j in range(len(sums[0]))]
        for row, place in enumerate(rows):
            quad = code.bits(code.splat(code.load(i32, place), self.lanes), kind)
            for j, column in enumerate(columns):
                sums[row][j] = self.dot(code, wide, sums[row][j], quad, column)
        return sums

    def dot(self, code: Code, wide: Any, total: Value, quad: Value, column: Value) -> Value:
        needs = f"vpdpbusd.{self.bits}"
        return code.call(f"llvm.x86.avx512.vpdpbusd.{self.bits}", wide, total, quad, column, needs=needs)


class Singles:
    """NEON `smlal`: activations prepared as i16; each element takes one product at a time."""

    lanes, group, row_bytes, offset = 4, 1, 2, 0

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        width = 4 * len(sums[0])
        quads = [code.load(vector(i16, 4), place) for place in rows]
        for k in range(STEP):
            columns: list[Value] = []
            for start in range(0, width, 8):
                wide = code.signed(code.load(vector(i8, 8), weights, k * width + start), i16)
                columns += [code.part(wide, 0, 4), code.part(wide, 4, 4)]
            for row, quad in enumerate(quads):
                one = code.shuffle(quad, quad, [k] * 4)
                for j, column in enumerate(columns):
                    product = code.call("llvm.aarch64.neon.smull.v4i32", vector(i32, 4), column, one, needs="smull")
                    sums[row][j] = sums[row][j] + product
        return sums


class SignedQuads:
    """NEON `sdot`: both sides signed, so that activations are prepared with 128 taken off, which packing puts back into the bias."""

    lanes, group, row_bytes, offset = 4, 4, 1, 128

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        kind, wide = vector(i8, 16), vector(i32, 4)
        columns = [code.load(kind, weights, j * 16) for j in range(len(sums[0]))]
        for row, place in enumerate(rows):
            quad = code.bits(code.splat(code.load(i32, place), 4), kind)
            for j, column in enumerate(columns):
                sums[row][j] = code.call("llvm.aarch64.neon.sdot.v4i32.v16i8", wide, sums[row][j], column, quad, needs="sdot")
        return sums


class GenericPairs:
    """Any instruction set: like `Pairs` in vectors of 16 bytes, spelled out for LLVM."""

    lanes, group, row_bytes, offset = 4, 2, 2, 0

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        vectors, kind = len(sums[0]), vector(i16, 8)
        for half in range(2):
            columns = [code.signed(code.load(vector(i8, 8), weights, (half * vectors + j) * 8), i16) for j in range(vectors)]
            for row, place in enumerate(rows):
                pair = code.bits(code.splat(code.load(i32, place, half * 4), 4), kind)
                for j, column in enumerate(columns):
                    product = code.signed(pair, i32) * code.signed(column, i32)
                    even, odd = (code.shuffle(product, product, range(start, 8, 2)) for start in (0, 1))
                    sums[row][j] = sums[row][j] + (even + odd)
        return sums


def dots(isa: Isa, *, saturating: bool = False) -> Dots:
    """The way of this instruction set. Raises IsaError where `saturating` is asked of one that has no such instruction."""
    if saturating:
        isa.require("pmaddubsw")
        return Saturating()
    match isa.dot:
        case "pmaddwd":
            return Pairs()
        case "vpdpbusd":
            return Quads(8 * isa.vector)
        case "smlal":
            return Singles()
        case "sdot":
            return SignedQuads()
        case "generic":
            return GenericPairs()
