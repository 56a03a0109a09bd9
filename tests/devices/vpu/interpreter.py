"""A machine over Python integers, one byte at a time: reads a program's file by itself and shares no code with the emulator."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

NAMES = (None, "load", "store", "fill", "conv", "depthwise", "largest", "mean", "add", "multiply", "lookup")
WORDS = 21


def signed(value: int) -> int:
    """A byte as int8."""
    return value - 256 if value > 127 else value


def wrapped(value: int) -> int:
    """What an int32 register holds."""
    return (value + 2**31) % 2**32 - 2**31


def requantized(total: int, multiplier: int, shift: int, zero: int, low: int = 0, high: int = 255) -> int:
    shift = min(max(shift, 1), 62)
    return min(max((total * multiplier + 2 ** (shift - 1)) // 2**shift + zero, low), high)


class Interpreter:
    """Runs the program of a file on bytes."""

    def __init__(self, content: bytes) -> None:
        inputs, outputs, layers, count, constants, arena, self.local_bytes = struct.unpack_from("<7I", content, 48)
        at, sizes = 76, []
        for _ in range(inputs + outputs):
            rank, shape = content[at + 1], struct.unpack_from("<8I", content, at + 16)
            size = 1
            for each in shape[:rank]:
                size *= each
            sizes.append(size)
            at += 48
            at += 1 + content[at]
        for _ in range(layers):
            at += 16
            at += 1 + content[at]
            at += 1 + content[at]
        self.words = [struct.unpack_from(f"<{WORDS}i", content, at + 4 * WORDS * number) for number in range(count)]
        at += 4 * WORDS * count
        assert at + constants == len(content)
        self.inputs, self.outputs = inputs, outputs
        self.spaces = [bytearray(content[at:]), bytearray(arena), *map(bytearray, sizes)]
        self.local = bytearray(self.local_bytes)

    def run(self, inputs: Sequence[bytes]) -> list[bytes]:
        for number, given in enumerate(inputs):
            self.spaces[2 + number][:] = given
        for code, *fields in self.words:
            getattr(self, NAMES[code])(*fields[: getattr(self, NAMES[code]).__code__.co_argcount - 1])
        return [bytes(space) for space in self.spaces[2 + self.inputs :]]

    def load(self, space, there, here, n0, n1, n2, s0, s1, s2, l0, l1, l2) -> None:
        for i in range(n0):
            for j in range(n1):
                for k in range(n2):
                    self.local[here + i * l0 + j * l1 + k * l2] = self.spaces[space][there + i * s0 + j * s1 + k * s2]

    def store(self, space, there, here, n0, n1, n2, s0, s1, s2, l0, l1, l2) -> None:
        for i in range(n0):
            for j in range(n1):
                for k in range(n2):
                    self.spaces[space][there + i * s0 + j * s1 + k * s2] = self.local[here + i * l0 + j * l1 + k * l2]

    def fill(self, here, count, value) -> None:
        for at in range(count):
            self.local[here + at] = value

    def conv(self, x, h, w, c, weights, params, y, oh, ow, oc, kh, kw, sh, sw, dh, dw, zero_x, zero_y, low, high) -> None:
        for i in range(oh):
            for j in range(ow):
                for o in range(oc):
                    bias, multiplier, shift, zero = struct.unpack_from("<4i", self.local, params + 16 * o)
                    total = bias
                    for p in range(kh):
                        for q in range(kw):
                            pixel = x + ((i * sh + p * dh) * w + j * sw + q * dw) * c
                            own = weights + ((o * kh + p) * kw + q) * c
                            for channel in range(c):
                                total += (self.local[pixel + channel] - zero_x) * (signed(self.local[own + channel]) - zero)
                    made = requantized(wrapped(total), multiplier, shift, zero_y, low, high)
                    self.local[y + (i * ow + j) * oc + o] = made

    def depthwise(self, x, h, w, c, weights, params, y, oh, ow, kh, kw, sh, sw, dh, dw, zero_x, zero_y, low, high) -> None:
        for i in range(oh):
            for j in range(ow):
                for o in range(c):
                    total, multiplier, shift, zero = struct.unpack_from("<4i", self.local, params + 16 * o)
                    for value, (p, q) in zip(self.window(x, w, c, i, j, o, kh, kw, sh, sw, dh, dw), taps(kh, kw), strict=True):
                        total += (value - zero_x) * (signed(self.local[weights + (p * kw + q) * c + o]) - zero)
                    made = requantized(wrapped(total), multiplier, shift, zero_y, low, high)
                    self.local[y + (i * ow + j) * c + o] = made

    def largest(self, x, h, w, c, y, oh, ow, kh, kw, sh, sw, dh, dw) -> None:
        for i in range(oh):
            for j in range(ow):
                for o in range(c):
                    self.local[y + (i * ow + j) * c + o] = max(self.window(x, w, c, i, j, o, kh, kw, sh, sw, dh, dw))

    def mean(self, x, h, w, c, y, oh, ow, kh, kw, sh, sw, dh, dw, zero_x, multiplier, shift, zero_y) -> None:
        for i in range(oh):
            for j in range(ow):
                for o in range(c):
                    total = sum(value - zero_x for value in self.window(x, w, c, i, j, o, kh, kw, sh, sw, dh, dw))
                    self.local[y + (i * ow + j) * c + o] = requantized(total, multiplier, shift, zero_y)

    def add(self, a, b, y, n0, n1, n2, a0, a1, a2, b0, b1, b2, za, ma, zb, mb, shift, zero, low, high) -> None:
        for number, (i, j, k) in enumerate((i, j, k) for i in range(n0) for j in range(n1) for k in range(n2)):
            first, second = self.local[a + i * a0 + j * a1 + k * a2], self.local[b + i * b0 + j * b1 + k * b2]
            total = (first - za) * ma + (second - zb) * mb + 2 ** (shift - 1)
            assert -(2**31) <= total < 2**31
            self.local[y + number] = min(max(total // 2**shift + zero, low), high)

    def multiply(self, a, b, y, n0, n1, n2, a0, a1, a2, b0, b1, b2, za, zb, multiplier, shift, zero) -> None:
        for number, (i, j, k) in enumerate((i, j, k) for i in range(n0) for j in range(n1) for k in range(n2)):
            first, second = self.local[a + i * a0 + j * a1 + k * a2], self.local[b + i * b0 + j * b1 + k * b2]
            self.local[y + number] = requantized((first - za) * (second - zb), multiplier, shift, zero)

    def lookup(self, x, table, y, count) -> None:
        for at in range(count):
            self.local[y + at] = self.local[table + self.local[x + at]]

    def window(self, x, w, c, i, j, o, kh, kw, sh, sw, dh, dw) -> list[int]:
        """Channel o under the window of output (i, j)."""
        return [self.local[x + ((i * sh + p * dh) * w + j * sw + q * dw) * c + o] for p, q in taps(kh, kw)]


def taps(kh: int, kw: int) -> Iterator[tuple[int, int]]:
    return ((p, q) for p in range(kh) for q in range(kw))
