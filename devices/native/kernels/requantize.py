"""int32 sums to bytes: y = clamp(rint_even(f32(sum) * scale) + zero, low, high), the reference semantics of the engine.

Packing has proven that no product reaches 2^31, so that the conversion back to int32 needs no bounds of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devices.native.kernels.emit import Code, Value, f32, i8, i16, i32, i64, lanes, vector

MAGIC = 12582912.0
"""1.5 * 2^23: a float32 below 2^22 in magnitude plus this has no place for a fraction, so that the addition rounds it to even."""


def rounded(code: Code, value: Value) -> Value:
    """float32 to the nearest int32, ties to even; below 2^31 in magnitude (`portable`: values past 2^21 saturate there)."""
    count = lanes(value.type)
    kind = vector(i32, count)
    if "avx512" in code.isa.provides and count == 16:
        same, mask, mode = code.const(kind, 0), code.const(i16, -1), code.const(i32, 4)
        return code.call("llvm.x86.avx512.mask.cvtps2dq.512", kind, value, same, mask, mode, needs="avx512")
    if "avx2" in code.isa.provides and count == 8:
        return code.call("llvm.x86.avx.cvt.ps2dq.256", kind, value, needs="avx2")
    if "neon" in code.isa.provides and count == 4:
        return code.call("llvm.aarch64.neon.fcvtns.v4i32.v4f32", kind, value, needs="neon")
    bounded = code.least(code.greatest(value, -2097152.0), 2097152.0)
    whole = code.builder.fptosi(((bounded + MAGIC) - MAGIC).raw, kind)
    return Value(code, whole)


def scaled(code: Code, total: Value, scale: Value) -> Value:
    """int32 rint_even(f32(total) * scale)."""
    return rounded(code, code.signed(total, f32) * scale)


class Output:
    """Zero point and bounds of a uint8 output, as vectors are made of them where they are needed."""

    def __init__(self, code: Code, zero: Value, low: Value, high: Value) -> None:
        self.code, self.zero, self.low, self.high = code, zero, low, high

    def ways(self, width: int) -> Iterator[bool]:
        """The code for `width` elements at once is written for each: whether all that a byte holds is allowed and its zero point is 0, as
        after a rectifier. Packing does that by itself."""
        if not self._packs(width):
            yield False
            return
        code = self.code
        with code.either(self.zero.equals(0) & self.low.equals(0) & self.high.equals(255)) as (plain, bounded):
            with plain:
                yield True
            with bounded:
                yield False

    def _packs(self, width: int) -> bool:
        return "avx2" in self.code.isa.provides and width == 8

    def bytes(self, values: Sequence[Value], *, plain: bool = False) -> list[Value]:
        """Vectors of int32 (before the zero point) as vectors of bytes with as many elements; `plain` of `ways`."""
        if self._packs(lanes(values[0].type)):
            return self._packed(values, plain)
        code, count = self.code, lanes(values[0].type)
        zero, low, high = (code.splat(word, count) for word in (self.zero, self.low, self.high))
        return [code.signed(code.least(code.greatest(value + zero, low), high), i8) for value in values]

    def ordered(self, pixels: Sequence[Sequence[Value]], *, plain: bool = False) -> list[Value]:
        """AVX2: pairs of vectors whose halves are in the order that packing undoes (`pack.block_order`), as sixteen bytes each."""
        code, result = self.code, []
        for start in range(0, len(pixels), 2):
            two = [*pixels[start : start + 2]]
            packed = self._pack(two[0], two[-1], plain)
            halves = code.bits(packed, vector(i64, 4))
            straight = code.bits(code.shuffle(halves, halves, (0, 2, 1, 3)), vector(i8, 32))
            result += [code.part(straight, 16 * i, 16) for i in range(len(two))]
        return result

    def _packed(self, values: Sequence[Value], plain: bool) -> list[Value]:
        """Four vectors at a time, whose interleaved quarters one permutation puts in order."""
        code, result = self.code, []
        for start in range(0, len(values), 4):
            four = list(values[start : start + 4])
            count = len(four)
            four += [four[-1]] * (4 - count)
            packed = code.bits(self._pack(four[:2], four[2:], plain), vector(i32, 8))
            ordered = code.bits(code.shuffle(packed, packed, (0, 4, 1, 5, 2, 6, 3, 7)), vector(i8, 32))
            result += [code.part(ordered, 8 * i, 8) for i in range(count)]
        return result

    def _pack(self, first: Sequence[Value], second: Sequence[Value], plain: bool) -> Value:
        """Two and two vectors of int32 as bytes, by `packssdw` and `packuswb`, which saturate; within bounds, quarters interleaved."""
        code = self.code
        zero = code.splat(code.signed(self.zero, i16), 16)
        low, high = (code.splat(code.signed(bound, i8), 32) for bound in (self.low, self.high))
        words = []
        for a, b in (first, second):
            narrow = code.call("llvm.x86.avx2.packssdw", vector(i16, 16), a, b, needs="avx2")
            words.append(narrow if plain else code.call("llvm.sadd.sat.v16i16", vector(i16, 16), narrow, zero))
        packed = code.call("llvm.x86.avx2.packuswb", vector(i8, 32), *words, needs="avx2")
        return packed if plain else code.lower(code.higher(packed, low), high)
