"""Shared slots for pictures and tensors: memory without a name, one owner, and a table of holds in which every word has one writer.

A pool is two memfds. `data` holds the slots; consumers map it through a read-only descriptor. `table` holds a generation for each slot,
written by the owner, and one row of hold counts for each worker that may hold a slot, written by that worker alone. A slot is free when it
is zero in every row. Rows are ordered as frames travel: whoever passes a slot on keeps its own hold until the receiver has written
hers, so a reader that goes through the rows in order cannot miss a hold that moves.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from devices import kernels
from devices.kernels import slots as at

WORD = 4
LINE = 64


class PoolError(Exception):
    """A pool that cannot be made, or a slot that is not what its descriptor says."""


@dataclass(frozen=True, slots=True)
class PoolShape:
    """What both ends must know of a pool. `rows` counts the workers that may hold a slot, the owner first."""

    id: int
    slots: int
    slot_bytes: int
    rows: int

    @property
    def data_bytes(self) -> int:
        return self.slots * self.slot_bytes

    @property
    def row_bytes(self) -> int:
        return -(-self.slots * WORD // LINE) * LINE

    @property
    def table_bytes(self) -> int:
        return self.row_bytes * (1 + self.rows)


def allocate(shape: PoolShape) -> tuple[int, int]:
    """Makes a pool's memory, in full: (data, table) descriptors. Raises PoolError when the memory is not there."""
    data = os.memfd_create(f"ace-pool-{shape.id}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    table = os.memfd_create(f"ace-holds-{shape.id}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for fd, size in ((data, shape.data_bytes), (table, shape.table_bytes)):
            os.posix_fallocate(fd, 0, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except OSError as error:
        os.close(data)
        os.close(table)
        raise PoolError(f"pool {shape.id}: expected {shape.data_bytes + shape.table_bytes} bytes of shared memory, got: {error}") from error
    return data, table


def read_only(fd: int) -> int:
    """A second descriptor of the same memory through which nothing can be written."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


@dataclass(slots=True, eq=False)
class SlotRef:
    """A slot somebody holds: where a picture's bytes are, and how to hold it longer."""

    pool: Pool
    slot: int
    generation: int


class Pool:
    """One worker's end of a pool. `row` is the worker's row in the table; row 0 is the owner's. Takes over the descriptors."""

    def __init__(self, shape: PoolShape, data: int, table: int, row: int) -> None:
        self.shape, self.row = shape, row
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if row == 0 else 0)
        self._data = mmap.mmap(data, shape.data_bytes, mmap.MAP_SHARED, protection)
        self._table = mmap.mmap(table, shape.table_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(data)
        os.close(table)
        words = memoryview(self._table).cast("I")
        width = shape.row_bytes // WORD
        self.generations = words[:width]
        """How often each slot was taken."""
        self._rows = [words[width * (1 + row) : width * (2 + row)] for row in range(shape.rows)]
        self._mine = self._rows[row]
        pixels = np.frombuffer(self._data, np.uint8)
        self._views = [pixels[slot * shape.slot_bytes : (slot + 1) * shape.slot_bytes] for slot in range(shape.slots)]
        address: int = np.frombuffer(self._table, np.uint8).ctypes.data
        self.generations_address, self.hold_address = address, address + shape.row_bytes * (1 + row)
        self.number_word = shape.id << 32
        self._native = np.zeros(at.WORDS, np.int64)
        self._native[:] = self.generations_address, address + shape.row_bytes, shape.slots, shape.rows, width
        self.address: int = self._native.ctypes.data
        """Of what native steps know of it."""
        functions = kernels.functions()
        self._free, self._acquire = functions["ace_free"], functions["ace_acquire"]

    def view(self, slot: int) -> np.ndarray:
        """The slot's bytes, uint8 of `slot_bytes`; writable for the owner only."""
        return self._views[slot]

    def free(self, slot: int) -> bool:
        return not any(row[slot] for row in self._rows)

    def can_acquire(self) -> bool:
        """Owner only: whether any slot is free. It stays so until the owner takes it: nobody else can hold what no descriptor names."""
        return bool(self._free(self.address) >= 0)

    def available(self) -> int:
        """How many slots could be acquired now."""
        return sum(map(self.free, range(self.shape.slots)))

    def acquire(self) -> SlotRef | None:
        """Owner only: a free slot under a new generation, held once; None when all are held.

        The first that is free: few slots are used again and again, and stay in a processor's cache.
        """
        slot = self._acquire(self.address)
        return SlotRef(self, slot, self.generations[slot]) if slot >= 0 else None

    def check(self, slot: int, generation: int) -> None:
        """Raises PoolError when a slot that a descriptor names has been recycled or does not exist."""
        if not 0 <= slot < self.shape.slots or self.generations[slot] != generation:
            raise PoolError(f"pool {self.shape.id}: expected slot {slot} of generation {generation}, which is not there")

    def receive(self, slot: int, generation: int) -> SlotRef:
        """Holds a slot that a descriptor names. Raises PoolError when it has been recycled or does not exist."""
        if not 0 <= slot < self.shape.slots:
            raise PoolError(f"pool {self.shape.id}: expected a slot below {self.shape.slots}, got {slot}")
        self._mine[slot] += 1
        if self.generations[slot] != generation:
            self._mine[slot] -= 1
            raise PoolError(f"pool {self.shape.id} slot {slot}: expected generation {generation}, got {self.generations[slot]}")
        return SlotRef(self, slot, generation)

    def hold(self, ref: SlotRef) -> None:
        """Once more."""
        self._mine[ref.slot] += 1

    def release(self, ref: SlotRef) -> None:
        """Once less."""
        self._mine[ref.slot] -= 1

    def reset_holds(self, counts: Mapping[int, int]) -> None:
        """This worker holds so much of each slot, and no more: what it took over from an earlier life."""
        for slot in range(self.shape.slots):
            self._mine[slot] = counts.get(slot, 0)

    def holds(self) -> int:
        """How many holds this worker has."""
        return sum(self._mine)

    def held(self) -> int:
        """How many slots anybody holds."""
        return self.shape.slots - self.available()


def write_row(shape: PoolShape, table: int, row: int, counts: Mapping[int, int]) -> None:
    """What a dead worker's entries still hold, and nothing else. Only once it is dead, and before its successor starts."""
    words = np.zeros(shape.row_bytes // WORD, np.uint32)
    for slot, count in counts.items():
        words[slot] = count
    os.pwrite(table, words.tobytes(), shape.row_bytes * (1 + row))


def held_slots(shape: PoolShape, table: int) -> int:
    """Slots that anybody holds, read from outside."""
    words = np.frombuffer(os.pread(table, shape.table_bytes, 0), np.uint32).reshape(1 + shape.rows, -1)
    return int(words[1:, : shape.slots].any(axis=0).sum())
