"""Where values lie: one arena for all that live only while the model runs.

Greedy by size: the largest value first, each at the lowest place where it meets no other that lives at the same time and the gap is the
smallest that holds it (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, arXiv:2001.03288).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from devices.native.arrays import aligned
from devices.native.ir import GraphError

MAX_ARENA = 2**31
"""Bytes that a model may need while it runs, for one item."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A value's memory: alive from the step that writes it to the last one that reads it, both included."""

    name: str
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Offsets into an arena of `nbytes`. No plan can do with fewer than `bound`: the most that is alive at one step."""

    offsets: Mapping[str, int]
    nbytes: int
    bound: int


def plan(buffers: Sequence[Buffer]) -> MemoryPlan:
    """Places the buffers, each at a multiple of ALIGNMENT. Raises GraphError when they need more than MAX_ARENA."""
    bound = lower_bound(buffers)
    alive: dict[int, list[int]] = {}
    offsets: dict[int, int] = {}
    total = 0
    order = sorted(range(len(buffers)), key=lambda index: (-buffers[index].nbytes, buffers[index].first, index))
    for index in order:
        buffer = buffers[index]
        steps = range(buffer.first, buffer.last + 1)
        neighbours = {other for step in steps for other in alive.get(step, ())}
        size = aligned(buffer.nbytes)
        taken = sorted((offsets[other], offsets[other] + aligned(buffers[other].nbytes)) for other in neighbours)
        offsets[index] = _fit(taken, size)
        total = max(total, offsets[index] + size)
        for step in steps:
            alive.setdefault(step, []).append(index)
    if total > MAX_ARENA:
        raise GraphError(f"expected at most {MAX_ARENA} bytes alive while the model runs, got {total}")
    return MemoryPlan({buffers[index].name: offset for index, offset in sorted(offsets.items())}, total, bound)


def lower_bound(buffers: Iterable[Buffer]) -> int:
    """The most bytes alive at one step, each buffer rounded up to the alignment."""
    changes: dict[int, int] = {}
    for buffer in buffers:
        changes[buffer.first] = changes.get(buffer.first, 0) + aligned(buffer.nbytes)
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - aligned(buffer.nbytes)
    now = most = 0
    for step in sorted(changes):
        now += changes[step]
        most = max(most, now)
    return most


def _fit(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The start of the smallest gap that holds this many bytes, or the end of all that is taken."""
    best, best_gap, end = -1, -1, 0
    for start, stop in taken:
        gap = start - end
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, stop)
    return best if best >= 0 else end
