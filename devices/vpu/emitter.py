"""What the compiler writes to: instructions, constants, and the part of the local memory that each step takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.native.ir import Type
from devices.vpu.instructions import MOST_INSTRUCTIONS, Instruction, Load, Store

ALIGNMENT = 16


class Refusal(Exception):
    """An operator that the machine cannot do, and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a space from an address on."""

    space: int
    address: int

    def at(self, offset: int) -> Place:
        return Place(self.space, self.address + offset)


@dataclass(frozen=True, slots=True)
class Step:
    """An operator of the graph, types of its inputs and output, where they lie, and the constants among its inputs."""

    op: Any
    types: tuple[Type, ...]
    out: Type
    places: tuple[Place, ...]
    y: Place
    constants: tuple[np.ndarray | None, ...]


class Emitter:
    """Collects a program for a machine with this much local memory."""

    def __init__(self, local_bytes: int) -> None:
        self.local_bytes = local_bytes
        self.instructions: list[Instruction] = []
        self._constants = bytearray()
        self._known: dict[bytes, int] = {}

    def emit(self, instruction: Instruction) -> None:
        """Raises Refusal for one more than a program may have."""
        if len(self.instructions) >= MOST_INSTRUCTIONS:
            raise Refusal(f"expected a program of at most {MOST_INSTRUCTIONS} instructions, got more")
        self.instructions.append(instruction)

    def constant(self, array: np.ndarray) -> Place:
        """Where these bytes lie among the constants; equal ones lie there once."""
        content = np.ascontiguousarray(array).tobytes()
        if content not in self._known:
            self._constants += bytes(-len(self._constants) % ALIGNMENT)
            self._known[content] = len(self._constants)
            self._constants += content
        return Place(0, self._known[content])

    @property
    def constants(self) -> np.ndarray:
        return np.frombuffer(bytes(self._constants), np.uint8)

    def load(self, place: Place, local: int, counts: Iterable[int], outer: Iterable[int], inner: Iterable[int]) -> None:
        """Three counts, and three steps each for the space and the local memory."""
        self.emit(Load(place.space, place.address, local, *counts, *outer, *inner))

    def store(self, local: int, place: Place, counts: Iterable[int], outer: Iterable[int], inner: Iterable[int]) -> None:
        self.emit(Store(place.space, place.address, local, *counts, *outer, *inner))

    def load_bytes(self, place: Place, local: int, count: int) -> None:
        self.load(place, local, (1, 1, count), (0, 0, 1), (0, 0, 1))

    def store_bytes(self, local: int, place: Place, count: int) -> None:
        self.store(local, place, (1, 1, count), (0, 0, 1), (0, 0, 1))


def aligned(nbytes: int) -> int:
    """Bytes rounded up to the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def placed(*sizes: int) -> tuple[list[int], int]:
    """Where operands of these sizes lie one after another, and where the last one ends."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += aligned(size)
    return starts, end


def parts(begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """[begin, end) in parts of at most this size."""
    for at in range(begin, end, size):
        yield at, min(at + size, end)


def even_parts(count: int) -> list[int]:
    """Sizes of parts that cut a count into 1, 2, 3, ... as even as can be, each once, the largest first."""
    sizes = [count]
    while sizes[-1] > 1:
        number = -(-count // (sizes[-1] - 1))
        sizes.append(-(-count // number))
    return sizes
