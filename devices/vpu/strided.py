"""Boxes of bytes with a step along each axis, and how they are brought through the local memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from devices.vpu.emitter import Emitter, Place, aligned, parts
from devices.vpu.instructions import Fill

AXES = 3
"""Axes of a `Load` or `Store`, and of an operator over two values."""


@dataclass(frozen=True, slots=True)
class Box:
    """`shape` bytes, read at `reads` (steps may be 0 or negative) and written at `writes`; both from a first byte on."""

    shape: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]


def row_steps(shape: Sequence[int]) -> tuple[int, ...]:
    """Steps of values that lie in a row, the last axis first."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def collapsed(shape: Sequence[int], *steps: Sequence[int]) -> Box:
    """The same bytes in the fewest axes: those of size 1 left out, neighbours joined where every operand steps on as if they were one."""
    axes: list[tuple[int, list[int]]] = []
    for size, *each in zip(shape, *steps, strict=True):
        if size == 1:
            continue
        if axes and all(outer == inner * size for outer, inner in zip(axes[-1][1], each, strict=True)):
            axes[-1] = (axes[-1][0] * size, each)
        else:
            axes.append((size, each))
    axes = axes or [(1, [1] * len(steps))]
    return Box(tuple(size for size, _ in axes), tuple(tuple(each[number] for _, each in axes) for number in range(len(steps))))


def three(values: Sequence[int], filler: int) -> tuple[int, ...]:
    """The values as the last of three."""
    return (*[filler] * (AXES - len(values)), *values)


def pieces(box: Box, room: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Parts of at most three axes and `room` bytes: the index of each one's first byte along all axes, its sizes along the last ones."""
    outer, inner = box.shape[:-AXES], box.shape[-AXES:]
    sizes = list(inner)
    for axis in range(len(sizes)):
        sizes[axis] = max(1, min(sizes[axis], room // prod(sizes[axis + 1 :])))
        if prod(sizes) <= room:
            break
    cuts = [list(parts(0, size, cut)) for size, cut in zip(inner, sizes, strict=True)]
    for before in product(*map(range, outer)):
        for ranges in product(*cuts):
            yield (*before, *(begin for begin, _ in ranges)), tuple(end - begin for begin, end in ranges)


def offset(index: Sequence[int], steps: Sequence[int]) -> int:
    """Bytes from the first one to the one with this index."""
    return sum(at * step for at, step in zip(index, steps, strict=True))


def copy(e: Emitter, source: Place, target: Place, shape: Sequence[int], reads: Sequence[int], writes: Sequence[int]) -> None:
    """Copies bytes from one space to another, in any order of axes."""
    if not prod(shape):
        return
    box = collapsed(shape, reads, writes)
    for index, sizes in pieces(box, e.local_bytes):
        counts, dense = three(sizes, 1), three(row_steps(sizes), 0)
        last = len(sizes)
        e.load(source.at(offset(index, box.steps[0])), 0, counts, three(box.steps[0][-last:], 0), dense)
        e.store(0, target.at(offset(index, box.steps[1])), counts, three(box.steps[1][-last:], 0), dense)


def fill(e: Emitter, target: Place, count: int, value: int) -> None:
    """Writes one byte so many times."""
    room = min(e.local_bytes, aligned(count))
    e.emit(Fill(0, min(room, count), value))
    for begin, end in parts(0, count, room):
        e.store_bytes(0, target.at(begin), end - begin)
