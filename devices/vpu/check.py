"""What every instruction must keep to, looked at before the first one runs: no byte outside of the local memory or of a space, no result
over its own operands, no number that the machine has no bits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.vpu.fixed import ADD_BITS, BITS, MOST_ADD_SHIFT, MOST_SHIFT
from devices.vpu.instructions import (
    PARAMS,
    Add,
    Conv,
    Depthwise,
    Fill,
    Instruction,
    Largest,
    Load,
    Lookup,
    Mean,
    Multiply,
    Store,
    work,
)

if TYPE_CHECKING:
    from devices.vpu.program import Program

MOST_MACS = 2**40
"""Multiplications of one run, and bytes that it moves."""


class ProgramError(ValueError):
    """Bytes or instructions that are no program: expected and got."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of one memory from the first to the one before `end`."""

    first: int
    end: int

    def meets(self, other: Span) -> bool:
        return self.first < other.end and other.first < self.end


def check(program: Program) -> None:
    """Raises ProgramError, with the number of the instruction."""
    spaces = program.space_bytes
    read_only = {0, *range(2, 2 + len(program.inputs))}
    macs = moved = 0
    for number, instruction in enumerate(program.instructions):
        try:
            _check(instruction, program.local_bytes, spaces, read_only)
        except ProgramError as error:
            raise ProgramError(f"instruction {number} ({type(instruction).__name__}): {error}") from None
        more = work(instruction)
        macs, moved = macs + more[0], moved + more[1]
    if max(macs, moved) > MOST_MACS:
        raise ProgramError(f"expected at most {MOST_MACS} multiplications and bytes moved, got {macs} and {moved}")


def _check(instruction: Instruction, local: int, spaces: Sequence[int], read_only: set[int]) -> None:
    match instruction:
        case Load() | Store() as move:
            counts = (move.n0, move.n1, move.n2)
            outer, inner = (move.s0, move.s1, move.s2), (move.l0, move.l1, move.l2)
            _within("space", move.space, 0, len(spaces) - 1)
            there, here = _strided(move.address, counts, outer), _strided(move.local, counts, inner)
            _inside(f"space {move.space}", there, spaces[move.space])
            _inside("the local memory", here, local)
            _nested(counts, inner if isinstance(move, Load) else outer)
            if isinstance(move, Store) and move.space in read_only:
                raise ProgramError(f"expected a space that can be written, got {move.space}")
        case Fill() as fill:
            _within("value", fill.value, 0, 255)
            _inside("the local memory", _bytes(fill.local, fill.length), local)
        case Lookup() as one:
            _apart(local, _bytes(one.y, one.length), _bytes(one.x, one.length), _bytes(one.table, 256))
        case Add() | Multiply() as two:
            _check_two(two, local)
        case _:
            _check_window(instruction, local)


def _check_two(two: Add | Multiply, local: int) -> None:
    counts = (two.n0, two.n1, two.n2)
    first, second = _strided(two.a, counts, (two.a0, two.a1, two.a2)), _strided(two.b, counts, (two.b0, two.b1, two.b2))
    _apart(local, _bytes(two.y, two.n0 * two.n1 * two.n2), first, second)
    for name, value in (("zero_a", two.zero_a), ("zero_b", two.zero_b), ("zero_y", two.zero_y)):
        _within(name, value, 0, 255)
    if isinstance(two, Multiply):
        _within_factor(two.multiplier, two.shift)
        return
    _within("shift", two.shift, 1, MOST_ADD_SHIFT)
    _within("multiplier_a", two.multiplier_a, 0, 2**ADD_BITS - 1)
    _within("multiplier_b", two.multiplier_b, 0, 2**ADD_BITS - 1)
    _within_range(two.low, two.high)


def _check_window(window: Conv | Depthwise | Largest | Mean, local: int) -> None:
    sizes = (window.height, window.width, window.channels, window.out_height, window.out_width, window.kernel_height, window.kernel_width)
    steps = (window.stride_y, window.stride_x, window.dilation_y, window.dilation_x)
    if min(*sizes, *steps) < 1:
        raise ProgramError(f"expected sizes and steps of at least 1, got {sizes} and {steps}")
    for what, size, out, stride, kernel, dilation in (
        ("height", window.height, window.out_height, window.stride_y, window.kernel_height, window.dilation_y),
        ("width", window.width, window.out_width, window.stride_x, window.kernel_width, window.dilation_x),
    ):
        needed = (out - 1) * stride + (kernel - 1) * dilation + 1
        if needed > size:
            raise ProgramError(f"expected a {what} of at least {needed}, got {size}")
    taps = window.kernel_height * window.kernel_width
    made = window.out_channels if isinstance(window, Conv) else window.channels
    reads = [_bytes(window.x, window.height * window.width * window.channels)]
    if isinstance(window, Conv | Depthwise):
        if isinstance(window, Conv):
            _within("out_channels", made, 1, local)
        if window.params % 4:
            raise ProgramError(f"expected params at a multiple of 4, got {window.params}")
        reads.append(_bytes(window.weights, made * taps * (window.channels if isinstance(window, Conv) else 1)))
        reads.append(_bytes(window.params, made * PARAMS * 4))
        _within_range(window.low, window.high)
    if isinstance(window, Mean):
        _within_factor(window.multiplier, window.shift)
    if not isinstance(window, Largest):
        _within("zero_x", window.zero_x, 0, 255)
        _within("zero_y", window.zero_y, 0, 255)
    _apart(local, _bytes(window.y, window.out_height * window.out_width * made), *reads)


def _bytes(first: int, count: int) -> Span:
    if count < 1:
        raise ProgramError(f"expected at least one byte, got {count}")
    return Span(first, first + count)


def _strided(first: int, counts: Sequence[int], strides: Sequence[int]) -> Span:
    if min(counts) < 1:
        raise ProgramError(f"expected counts of at least 1, got {tuple(counts)}")
    reach = [(count - 1) * stride for count, stride in zip(counts, strides, strict=True)]
    return Span(first + sum(min(0, each) for each in reach), first + sum(max(0, each) for each in reach) + 1)


def _inside(what: str, span: Span, nbytes: int) -> None:
    if not 0 <= span.first <= span.end <= nbytes:
        raise ProgramError(f"expected bytes inside the {nbytes} of {what}, got {span.first} to {span.end}")


def _apart(local: int, result: Span, *operands: Span) -> None:
    for span in (result, *operands):
        _inside("the local memory", span, local)
    for span in operands:
        if result.meets(span):
            raise ProgramError(f"expected a result apart from its operands, got {result} and {span}")


def _nested(counts: Sequence[int], strides: Sequence[int]) -> None:
    """No byte is written twice: each step is longer than all that lies within it."""
    reach = 1
    for count, stride in zip(reversed(counts), reversed(strides), strict=True):
        if count > 1:
            if stride < reach:
                raise ProgramError(f"expected steps that write no byte twice, got {tuple(strides)} for {tuple(counts)}")
            reach += (count - 1) * stride


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ProgramError(f"{name}: expected {least} to {most}, got {value}")


def _within_factor(multiplier: int, shift: int) -> None:
    _within("multiplier", multiplier, 0, 2**BITS - 1)
    _within("shift", shift, 1, MOST_SHIFT)


def _within_range(low: int, high: int) -> None:
    _within("low", low, 0, 255)
    _within("high", high, low, 255)
