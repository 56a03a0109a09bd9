"""Sums of products of int16 with int16 -> int32, four along the depth at a time, as `dots` has them for bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from devices.native.isa import Isa
from devices.native.kernels.emit import Code, Region, Value, i16, i32, vector


class Wide(Protocol):
    """`lanes`: int32 elements of one accumulator; `group`: depth elements side by side in packed weights."""

    lanes: int
    group: int

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        """sums[row][j] with the products of four values of the row and the weights of columns j * lanes … added."""
        ...


class Pairs:
    """`pmaddwd`, or the same spelled out in vectors of 16 bytes."""

    group = 2

    def __init__(self, isa: Isa) -> None:
        self.lanes = 8 if isa.interleaves else 4

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        vectors, kind = len(sums[0]), vector(i16, 2 * self.lanes)
        for half in range(2):
            columns = [code.load(kind, weights, (half * vectors + j) * 4 * self.lanes) for j in range(vectors)]
            for row, place in enumerate(rows):
                pair = code.bits(code.splat(code.load(i32, place, half * 4), self.lanes), kind)
                for j, column in enumerate(columns):
                    sums[row][j] = sums[row][j] + self._product(code, pair, column)
        return sums

    def _product(self, code: Code, pair: Value, column: Value) -> Value:
        if code.isa.interleaves:
            return code.call("llvm.x86.avx2.pmadd.wd", vector(i32, 8), pair, column, needs="pmaddwd")
        product = code.signed(pair, i32) * code.signed(column, i32)
        even, odd = (code.shuffle(product, product, range(start, 2 * self.lanes, 2)) for start in (0, 1))
        return even + odd


class Singles:
    """NEON `smlal`."""

    lanes, group = 4, 1

    def step(self, code: Code, rows: Sequence[Region], weights: Region, sums: list[list[Value]]) -> list[list[Value]]:
        width = 4 * len(sums[0])
        quads = [code.load(vector(i16, 4), place) for place in rows]
        for k in range(4):
            columns = [code.load(vector(i16, 4), weights, 2 * (k * width + 4 * j)) for j in range(len(sums[0]))]
            for row, quad in enumerate(quads):
                one = code.shuffle(quad, quad, [k] * 4)
                for j, column in enumerate(columns):
                    product = code.call("llvm.aarch64.neon.smull.v4i32", vector(i32, 4), column, one, needs="smull")
                    sums[row][j] = sums[row][j] + product
        return sums


def wide(isa: Isa) -> Wide:
    """The way of this instruction set."""
    return Singles() if "smull" in isa.provides else Pairs(isa)
