"""One call of a compiled kernel: its name, its buffers, its numbers, how many rows it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from devices.native.isa import Isa
from devices.native.kernels.layout import CHANNELS, round_up
from devices.native.lower import Operand, Step


@dataclass(frozen=True, slots=True)
class Part:
    """An operand from a byte on."""

    operand: Operand
    offset: int = 0

    @property
    def nbytes(self) -> int:
        return self.operand.nbytes - self.offset


Buffer = Part | np.ndarray | None
Words = dict[str, Buffer | int | float]


@dataclass(frozen=True, slots=True)
class Call:
    """`words` are a kernel's buffers and numbers by name, as `kernels.catalogue` describes them."""

    kernel: str
    rows: int
    words: Mapping[str, Buffer | int | float]


@dataclass(frozen=True, slots=True)
class Context:
    """What makers of calls need to know: the instruction set, and the elements of operands that are constant.

    `widths`: columns of the tile that weights were first packed for, by their place and their outputs. Programs for other numbers of items
    share it, so that they share the packed weights.
    """

    isa: Isa
    constant: Callable[[Operand], np.ndarray]
    widths: dict[tuple[int, int], int] = field(default_factory=dict)


Maker = Callable[[Context, Step], "list[Call] | None"]
"""The calls that do a step; None where no kernel does it."""


@dataclass(frozen=True, slots=True)
class Span:
    """How a kernel that works element by element goes over its operands: rows of `channels` elements, from an element on."""

    rows: int
    channels: int
    start: int = 0


def spans(step: Step) -> list[Span]:
    """Rows and channels for a step whose output and inputs have one shape. None of them where vectors would not fit the output."""
    out = step.output
    if not out.type.rank or 0 in out.type.shape:
        return []
    columns, whole = out.type.shape[-1], prod(out.type.shape)
    if out.stride >= round_up(columns, CHANNELS):
        return [Span(whole // columns, round_up(columns, CHANNELS))]
    compact = all(operand.stride == (operand.type.shape[-1] if operand.type.rank else 1) for operand in (*step.inputs, out))
    alike = all(operand.type.shape == out.type.shape for operand in step.inputs)
    return flat(step) if compact and alike else []


def flat(step: Step) -> list[Span]:
    """All elements of operands without gaps as one row. What it writes past the end is the rounding of the arena's buffers; in the
    caller's outputs, where there is none, the last vector is done once more, up to the end."""
    whole = prod(step.output.type.shape)
    if step.output.region != "output" or whole % CHANNELS == 0:
        return [Span(1, round_up(whole, CHANNELS))]
    again = whole >= CHANNELS and all(operand.region != "output" for operand in step.inputs)
    return [Span(1, whole // CHANNELS * CHANNELS), Span(1, CHANNELS, whole - CHANNELS)] if again else []


def row_stride(operand: Operand) -> int:
    """Bytes from one row of an operand to the next."""
    return operand.stride * np.dtype(operand.type.dtype).itemsize


def pixels(operand: Operand) -> int:
    """Rows of an operand."""
    return prod(operand.type.shape[:-1])


def padded(values: np.ndarray) -> np.ndarray:
    """A vector with zeros up to a whole number of channels."""
    return np.concatenate([values, np.zeros(round_up(len(values), CHANNELS) - len(values), values.dtype)])
