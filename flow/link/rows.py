"""Rows of any length over a ring, in parts that fit its entries: what the executor's own process gets of a worker.

What is published survives the worker, for the executor keeps the ring. A row whose writer died in the middle of it is written again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from flow.link.bell import Bell
from flow.link.ring import RingReceiver, RingSender, RingShape

SHAPE = RingShape(entries=64, entry_bytes=4080)
"""So many rows may be unread; most take one part."""
MORE, LAST = b"\0", b"\1"
PART_BYTES = SHAPE.entry_bytes - 1


class RowSender:
    """The worker's end. Parts that there is no room for wait."""

    def __init__(self, ring: RingSender) -> None:
        self._ring = ring
        self._waiting: deque[bytes] = deque()
        self.given = self.published = 0
        """Rows, and how many of them survive this worker."""

    def give(self, row: bytes) -> None:
        """Publishes a row as far as there is room."""
        ends = range(PART_BYTES, len(row) + PART_BYTES, PART_BYTES)
        self._waiting += [(LAST if end >= len(row) else MORE) + row[end - PART_BYTES : end] for end in ends]
        self.given += 1
        self.pump()

    def pump(self) -> bool:
        """Publishes what waits, as far as there is room; whether anything."""
        moved = False
        while self._waiting and self._room():
            self._ring.send(self._ring.tail, self._waiting.popleft())
            moved = True
        if not self._waiting:
            self.published = self.given
        return moved

    def _full(self) -> bool:
        return self._ring.tail - self._ring.head >= SHAPE.entries

    def _room(self) -> bool:
        return not self._full() or (self._ring.poll() and not self._full())

    def ready(self) -> bool:
        """Whether nothing waits and there is room."""
        return not self._waiting and self._room()

    def stirs(self) -> bool:
        """Whether there is room where there was none; told once."""
        return self._full() and self._ring.poll()

    def close(self) -> None:
        self._ring.close()


class RowReceiver:
    """The executor's end."""

    def __init__(self, ring: RingReceiver) -> None:
        self._ring = ring
        self._parts: list[bytes] = []

    def rows(self) -> Iterator[bytes]:
        """The rows that have come."""
        while (found := self._ring.receive()) is not None:
            last, part = found[1][:1], found[1][1:]
            self._parts.append(bytes(part))
            if last == LAST:
                row = b"".join(self._parts)
                self._parts.clear()
                yield row

    def renew(self, writer: Bell) -> None:
        """Another writer begins: its first part is the first of a row. Takes over its bell."""
        self._parts.clear()
        self._ring.renew(writer)

    def keep(self, unread: int) -> None:
        """Makes room for all but so many rows."""
        self._ring.finish(max(self._ring.head, self._ring.taken - unread))

    def stirs(self) -> bool:
        """Whether something has come."""
        return self._ring.stirs()

    def close(self) -> None:
        self._ring.close()
