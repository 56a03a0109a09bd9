"""The ledger: where every frame went, as counters that have one writer each and can be read at any time.

A worker's block is a memfd that the executor makes and keeps, so that counts survive the worker. Counters change between two increments of
a sequence number; a reader that sees the same even number before and after has a stable snapshot. Beside them stand the worker's
state (what it is doing since when, for the supervisor) and snapshots of operator state, which are not part of the sequence lock.
"""

from __future__ import annotations

import math
import mmap
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from devices.kernels import counts

WORD = 8
STATUS = ("node", "stream", "seq", "since_ns", "ended")
STATUS_INDEX = {name: 1 + place for place, name in enumerate(STATUS)}
assert [STATUS_INDEX[name] for name in STATUS[:4]] == [counts.NODE, counts.STREAM, counts.SEQ, counts.SINCE]
LATENCY_BUCKETS = counts.BUCKETS
BUCKETS_PER_OCTAVE = 8
STATE_BYTES = 1 << 20
TOGETHER = -2
"""In place of the stream in a worker's status: it runs so many frames at once as stand in place of the seq."""


LATENCY_BOUNDS = tuple(math.ceil(1000 * 2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE)) for bucket in range(LATENCY_BUCKETS))
"""ns: the latencies of a bucket are below its bound; eight buckets an octave from one microsecond on."""


def latency_bucket(latency_ns: int) -> int:
    """Which bucket a latency falls into."""
    return min(LATENCY_BUCKETS - 1, bisect_right(LATENCY_BOUNDS, latency_ns))


def quantile_ms(buckets: Sequence[int], quantile: float) -> float | None:
    """The latency in ms below which this share of the samples lies, to about 5 %; None without samples."""
    total = sum(buckets)
    if not total:
        return None
    target, seen = quantile * total, 0
    for index, count in enumerate(buckets):
        if count and seen + count >= target:
            return float(2.0 ** ((index + (target - seen) / count) / BUCKETS_PER_OCTAVE) / 1000.0)
        seen += count
    raise AssertionError("unreachable: the counts add up to the total")


class Layout:
    """Which word of a block holds which counter, and how many state areas follow. `names` are all its words in order, `""` where a
    word is spare.
    """

    def __init__(self, keys: Iterable[str], states: int = 0, spare: int = 0) -> None:
        self._name((*dict.fromkeys(keys), *[""] * spare))
        self.words = 1 + len(STATUS) + len(self.names)
        self.journal_words = 1 + 2 * len(self.names)
        self.state_start = -(-(self.words + self.journal_words) * WORD // mmap.PAGESIZE) * mmap.PAGESIZE
        self.states = states

    def _name(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.keys = tuple(filter(None, names))
        self.index = {key: 1 + len(STATUS) + place for place, key in enumerate(names) if key}

    @classmethod
    def named(cls, names: Sequence[str], states: int) -> Layout:
        """The layout with these words in this order."""
        made = cls((), states, spare=len(names))
        made._name(tuple(names))
        return made

    def changed(self, gone: Collection[str], new: Iterable[str]) -> tuple[str, ...]:
        """The names of its words once counters have gone and new ones have taken spare words. Raises ValueError when there are too few."""
        names = ["" if name in gone else name for name in self.names]
        spare = (place for place, name in enumerate(names) if not name)
        for key in new:
            place = next(spare, None)
            if place is None:
                raise ValueError(f"expected room for {key} among {len(names)} counters of a worker, got none")
            names[place] = key
        return tuple(names)

    @property
    def nbytes(self) -> int:
        return self.state_start + self.states * 2 * STATE_BYTES


class Block:
    """A worker's block. The worker writes it, everybody with the descriptor reads it."""

    def __init__(self, fd: int, layout: Layout) -> None:
        self.layout = layout
        self._map = mmap.mmap(fd, layout.nbytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.words = memoryview(self._map)[: layout.words * WORD].cast("q")
        self._journal = memoryview(self._map)[layout.words * WORD :][: layout.journal_words * WORD].cast("q")
        self.words_address: int = np.frombuffer(self._map, np.uint8).ctypes.data
        self.journal_address = self.words_address + layout.words * WORD
        self._changes: dict[int, int] | None = None
        self._index = layout.index
        self._halves: dict[int, int] = {}
        self._apply()

    def rename(self, names: Sequence[str]) -> None:
        """Other counters have taken some of the words."""
        self.layout = Layout.named(names, self.layout.states)
        self._index = self.layout.index

    def clear_spare(self) -> None:
        """The writer's: words that are no counter now are 0 when they become one."""
        for place, name in enumerate(self.layout.names, 1 + len(STATUS)):
            if not name:
                self.words[place] = 0

    def mend(self) -> None:
        """The writer's, once it has counted anew what it found: a change within which its last life died is over."""
        if self.words[0] & 1:
            self.words[0] += 1

    def begin(self) -> None:
        """Opens a change; snapshots wait until `end`."""
        self.words[0] += 1

    def end(self) -> None:
        self.words[0] += 1

    @contextmanager
    def change(self) -> Iterator[None]:
        """From `begin` to `end`; inside another change a part of that."""
        whole = not self.words[0] & 1
        if whole:
            self.begin()
        try:
            yield
        finally:
            if whole:
                self.end()

    def add(self, key: str, amount: int = 1) -> None:
        self.words[self._index[key]] += amount

    def set(self, key: str, value: int) -> None:
        if self._changes is None:
            self.words[self._index[key]] = value
        else:
            self._changes[self._index[key]] = value

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is `set` inside takes effect at its end, all of it or, when the writer dies, nothing."""
        changes: dict[int, int] = {}
        self._changes = changes
        try:
            yield
        finally:
            self._changes = None
        self.commit(changes)

    def commit(self, changes: Mapping[int, int]) -> None:
        """Words by their index, all of them or, when the writer dies, none."""
        journal, words, place = self._journal, self.words, 1
        for index, value in changes.items():
            journal[place], journal[place + 1] = index, value
            place += 2
        journal[0] = len(changes)  # from here on a successor completes it
        for index, value in changes.items():
            words[index] = value
        journal[0] = 0

    def index(self, key: str) -> int:
        """Which word of `words` a counter is, for those who count often."""
        return self._index[key]

    def _apply(self) -> None:
        journal = self._journal
        for place in range(journal[0]):
            self.words[journal[1 + 2 * place]] = journal[2 + 2 * place]
        journal[0] = 0

    def get(self, key: str) -> int:
        return self.words[self._index[key]]

    def set_status(self, name: str, value: int) -> None:
        self.words[STATUS_INDEX[name]] = value

    def status(self) -> dict[str, int]:
        """What the worker is doing; `node` is -1 when it waits."""
        return {name: self.words[1 + place] for place, name in enumerate(STATUS)}

    def enter(self, node: int, stream: int, seq: int, now_ns: int) -> None:
        """Records that the worker begins to run a node on a frame."""
        words = self.words
        words[1], words[2], words[3], words[4] = node, stream, seq, now_ns

    def enter_many(self, frames: Sequence[tuple[int, int, int]], now_ns: int) -> None:
        """The same for several frames at once: (node, stream, seq) each."""
        for place, values in enumerate(frames):
            for name, value in zip(("node", "stream", "seq"), values, strict=True):
                self.words[self._index[f"batch:{place}.{name}"]] = value
        self.enter(frames[0][0], TOGETHER, len(frames), now_ns)

    def entered(self) -> list[tuple[int, int, int]]:
        """(node, stream, seq) of each frame that the worker is at."""
        node, stream, seq = self.words[1], self.words[2], self.words[3]
        if stream != TOGETHER:
            return [(node, stream, seq)]
        return [tuple(self.get(f"batch:{place}.{name}") for name in ("node", "stream", "seq")) for place in range(seq)]  # type: ignore[misc]

    def leave(self) -> None:
        self.words[1] = -1

    def snapshot(self, *, patience_s: float = 1.0) -> dict[str, int]:
        """All counters at one moment. After `patience_s` without a stable one (a worker died in a change) as they stand."""
        give_up = time.monotonic() + patience_s
        while True:
            before = self.words[0]
            values = self.words.tolist()
            if (before % 2 == 0 and self.words[0] == before) or time.monotonic() > give_up:
                return {key: values[place] for key, place in self._index.items()}
            time.sleep(0.0002)

    def save_state(self, area: int, turn: int, data: bytes) -> bool:
        """Keeps the newest state of a chain in the half that does not hold the last one; False when it is too large."""
        if len(data) > STATE_BYTES - 32:
            return False
        half = self._halves[area] = 1 - self._newest(area)[0]
        start = self.layout.state_start + area * 2 * STATE_BYTES + half * STATE_BYTES
        numbers = turn.to_bytes(8, "little") + len(data).to_bytes(8, "little")
        head = numbers + zlib.crc32(data, zlib.crc32(numbers)).to_bytes(8, "little")
        self._map[start : start + 8] = b"\xff" * 8
        self._map[start + 24 : start + 24 + len(data)] = data
        self._map[start + 8 : start + 24] = head[8:]
        self._map[start : start + 8] = head[:8]
        return True

    def load_state(self, area: int, *, last: int = 1 << 62) -> tuple[int, bytes] | None:
        """The newest whole state up to turn `last`, and its turn. The next one saved takes the place of the other."""
        return self._newest(area, last=last)[1]

    def _newest(self, area: int, *, last: int | None = None) -> tuple[int, tuple[int, bytes] | None]:
        """(half, (turn, state)) of the newest state; only the half once it is known."""
        if area in self._halves and last is None:
            return self._halves[area], None
        newest: tuple[int, tuple[int, bytes] | None] = (1, None)
        for half in (0, 1):
            start = self.layout.state_start + area * 2 * STATE_BYTES + half * STATE_BYTES
            numbers = self._map[start : start + 16]
            turn, length, check = (int.from_bytes(self._map[start + at : start + at + 8], "little") for at in (0, 8, 16))
            data = self._map[start + 24 : start + 24 + length] if 0 < length <= STATE_BYTES - 32 else b""
            if last is not None and turn > last:
                continue
            if data and zlib.crc32(data, zlib.crc32(numbers)) == check and (newest[1] is None or turn > newest[1][0]):
                newest = half, (turn, data)
        self._halves[area] = newest[0]
        return newest


def make_block(layout: Layout, name: str) -> int:
    """A memfd for this layout; state areas take memory only once written."""
    fd = os.memfd_create(f"ace-ledger-{name}", os.MFD_CLOEXEC)
    os.ftruncate(fd, layout.nbytes)
    return fd


def conserved(counters: Mapping[str, int], prefix: str) -> bool:
    """The ledger's law for one edge or stream of a snapshot: in = out + dropped + in flight."""
    dropped = sum(value for key, value in counters.items() if key.startswith(f"{prefix}.dropped:"))
    return counters[f"{prefix}.in"] == counters[f"{prefix}.out"] + dropped + counters[f"{prefix}.in_flight"]
