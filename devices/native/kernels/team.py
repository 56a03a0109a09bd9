"""Threads that go through one list of kernel calls together, sharing out the rows of each call as they come."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from devices.native.kernels.catalogue import LINE
from devices.native.kernels.kernel import Words, address
from devices.native.kernels.load import Library

CHUNKS = 8
"""Chunks of rows a thread and call, about: they end at nearly one time, and one that loses its core leaves the rest to the others."""


class Team:
    """`calls` (kernel, words, rows) run in order by `threads` threads, which the caller has: it calls `open` once an inference, then each
    thread `work`. Nobody waits for a thread that has not begun: all but one may come late or not at all. Results are identical for
    any number of threads.

    Threads spin inside an inference only, and give way after some tens of microseconds.
    """

    def __init__(self, library: Library, calls: Sequence[tuple[str, Words, int]], threads: int) -> None:
        self._library = library
        self._walk = library.functions["walk"]
        self._calls = len(calls)
        self._states = np.zeros((len(calls), 2 * LINE // 8), np.int64)
        self._rounds = np.zeros((threads, LINE // 8), np.int64)
        self._round = 0
        self._lists = [library.walk([(name, words, 0, rows) for name, words, rows in calls])] if threads == 1 else self._shared(calls)
        self._places = [address(each.values) for each in self._lists]

    def _shared(self, calls: Sequence[tuple[str, Words, int]]) -> list[Words]:
        """A list for each thread, whose calls take shares of the given ones."""
        give_way = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
        lists = []
        for mine in self._rounds:
            shares = []
            for (name, words, rows), state in zip(calls, self._states, strict=True):
                share = self._library.kernels["share"].words(
                    state=state, round=mine, function=self._library.address(name), inner=address(words.values), rows=rows,
                    chunk=self._chunk(name, words, rows, len(self._rounds)), give_way=give_way,
                )  # fmt: skip
                shares.append(("share", Words(share.values, (*share.kept, words.values, *words.kept)), 0, 0))
            lists.append(self._library.walk(shares))
        return lists

    def _chunk(self, name: str, words: Words, rows: int, threads: int) -> int:
        """Rows of a chunk: whole tiles where the kernel has them."""
        fields = self._library.kernels[name].fields
        tile = int(words.values[fields.index("tile_rows")]) if "tile_rows" in fields else 1
        tiles = -(-rows // max(1, tile))
        return max(1, tile) * max(1, round(tiles / (CHUNKS * threads)))

    def open(self) -> None:
        """Begins an inference. All chunks of the last one are done: some thread has returned from `work`."""
        if len(self._lists) > 1:
            self._round += 1
            self._states[:, [0, LINE // 8]] = self._round << 32

    def work(self, thread: int, scratch: int) -> None:
        """Takes part as thread number `thread` with its scratch memory at this address; when it returns to one that came after `open`, the
        inference is complete."""
        self._rounds[thread, 0] = self._round
        self._walk(self._places[thread], 0, self._calls, scratch)
