"""The `ring` carrier: entries in memory that producer and consumer share, in a circle, with the other's bell to ring.

The executor keeps the memory, so what is published survives either end, and both: a successor goes on where the counts stand. Two
words are shared, each on a cache line of its own: `tail` counts what is published and is written by the producer alone, `head` counts
what is finished with and is written by the consumer alone.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from dataclasses import dataclass

import numpy as np

from devices import kernels
from flow.link.bell import Bell, Rest

LINE = 64
TAIL, HEAD, ENTRIES = 0, LINE, 2 * LINE
RECORD = struct.Struct("<QI4x")


@dataclass(frozen=True, slots=True)
class RingShape:
    """How many entries there is room for, of at most how many bytes each."""

    entries: int
    entry_bytes: int

    @property
    def stride(self) -> int:
        return -(-(RECORD.size + self.entry_bytes) // LINE) * LINE

    @property
    def places(self) -> int:
        """One more than entries: the last finished one can still be read."""
        return self.entries + 1

    @property
    def nbytes(self) -> int:
        return ENTRIES + self.places * self.stride


def allocate(shape: RingShape, name: str) -> int:
    """A memfd for such a ring, in full. Raises OSError when the memory is not there."""
    fd = os.memfd_create(f"ace-ring-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(fd, 0, shape.nbytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except OSError:
        os.close(fd)
        raise
    return fd


def unfinished(shape: RingShape, fd: int) -> list[bytes]:
    """Entries that are not finished with, read from outside while nobody publishes."""
    head, tail = (int.from_bytes(os.pread(fd, 8, word), "little") for word in (HEAD, TAIL))
    found = []
    for place in range(head, tail):
        data = os.pread(fd, shape.stride, ENTRIES + place % shape.places * shape.stride)
        _, length = RECORD.unpack_from(data)
        found.append(data[RECORD.size : RECORD.size + min(length, shape.entry_bytes)])
    return found


class _End:
    """What both ends know. Takes over the descriptor."""

    waitable = None

    def __init__(self, shape: RingShape, fd: int, other: Bell) -> None:
        self.shape, self.other = shape, other
        self.memory = mmap.mmap(fd, shape.nbytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)
        start: int = np.frombuffer(self.memory, np.uint8).ctypes.data
        self.tail_word, self.head_word, self.base = start + TAIL, start + HEAD, start + ENTRIES
        functions = kernels.functions()
        self._publish, self._observe = functions["ace_publish"], functions["ace_observe"]
        self.tail: int = self._observe(self.tail_word)
        self.head: int = self._observe(self.head_word)
        self.entries = memoryview(self.memory).toreadonly()

    def _start(self, place: int) -> int:
        return ENTRIES + place % self.shape.places * self.shape.stride

    def _entry(self, place: int) -> tuple[int, memoryview]:
        start = self._start(place)
        index, length = RECORD.unpack_from(self.entries, start)
        start += RECORD.size
        return index, self.entries[start : start + min(length, self.shape.entry_bytes)]

    def close(self) -> None:
        """Values may still lie over the memory: it goes with the last of them."""
        self.other.close()


class RingSender(_End):
    """The producer's end; what is published is durable."""

    def __init__(self, shape: RingShape, fd: int, other: Bell) -> None:
        super().__init__(shape, fd, other)
        self.durable = self._after(self.tail)
        self.done = self._after(self.head)

    def _after(self, count: int) -> int:
        """The index after that of the last of `count` entries."""
        return self._entry(count - 1)[0] + 1 if count else 0

    def under_way(self) -> int:
        """Entries published and not finished with, as the shared words say: any thread may ask."""
        return int(self._observe(self.tail_word) - self._observe(self.head_word))

    def unfinished(self) -> list[tuple[int, bytes]]:
        """Entries that an earlier life has published and the consumer has not finished with."""
        return [(index, bytes(data)) for index, data in map(self._entry, range(self.head, self.tail))]

    def send(self, index: int, data: bytes) -> None:
        if len(data) > self.shape.entry_bytes:
            raise RuntimeError(f"ring: expected an entry of at most {self.shape.entry_bytes} bytes, got {len(data)}")
        if self.tail - self.head >= self.shape.entries:
            raise RuntimeError(f"ring: expected at most {self.shape.entries} entries under way, got one more; credits were not kept")
        start = self._start(self.tail)
        RECORD.pack_into(self.memory, start, index, len(data))
        start += RECORD.size
        self.memory[start : start + len(data)] = data
        self.tail += 1
        self.durable = index + 1
        if self._publish(self.tail_word, self.tail, self.other.word):
            self.other.ring()

    def advance(self, tail: int, head: int) -> None:
        """`tail` entries were published elsewhere; of these `head` were seen to be finished with."""
        self.tail, self.head = tail, head
        self.durable, self.done = self._after(tail), self._after(head)

    def poll(self) -> bool:
        head = self._observe(self.head_word)
        if head == self.head:
            return False
        self.head = head
        self.done = self._after(head)
        return True

    def stirs(self) -> bool:
        """Whether `poll` has something to take in."""
        moved: bool = self._observe(self.head_word) != self.head
        return moved


class RingReceiver(_End):
    """The consumer's end: begins with what an earlier life has not finished with."""

    def __init__(self, shape: RingShape, fd: int, other: Bell) -> None:
        super().__init__(shape, fd, other)
        self.taken = self.head

    def receive(self) -> tuple[int, memoryview] | None:
        if self.taken == self.tail and not self.stirs():
            return None
        found = self._entry(self.taken)
        self.taken += 1
        return found

    def next(self) -> int:
        """Where the next record (RECORD: index and length; then the entry) lies in `entries`; -1 when there is none."""
        if self.taken == self.tail and not self.stirs():
            return -1
        return self._start(self.taken)

    def advance(self, taken: int, tail: int) -> None:
        """Entries before `taken` were taken elsewhere, where the producer's count was seen to be `tail`."""
        self.taken, self.tail = taken, tail

    def stirs(self) -> bool:
        """Whether more has been published than was received."""
        self.tail = self._observe(self.tail_word)
        return self.tail != self.taken

    def renew(self, other: Bell) -> None:
        """Another producer goes on where the last one stopped."""
        self.other.close()
        self.other = other

    def acknowledge(self, received: int, done: int) -> None:
        head = self.head
        while head < self.taken and RECORD.unpack_from(self.entries, self._start(head))[0] < done:
            head += 1
        self.finish(head)

    def finish(self, head: int) -> None:
        """Everything before entry `head` of this ring is finished with."""
        if head != self.head:
            self.head = head
            if self._publish(self.head_word, head, self.other.word) >= Rest.FOR_ROOM:
                self.other.ring()
