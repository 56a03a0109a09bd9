"""What a chain's common path settles: counters that a successor goes on from, all of them or none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from devices import kernels
from devices.kernels import books as at
from flow.worker.ways import FramesIn, FramesOut

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner


class Books:
    """The words that a settlement changes. Links that carry pictures are settled in one native step; what others, and states, have to say
    is written down before it. `head`: address of the last frame's head.
    """

    def __init__(self, chain: ChainRunner, way_in: FramesIn | None, ways_out: list[FramesOut], head: int) -> None:
        self.chain, self.way_in, self.ways_out, self.block = chain, way_in, ways_out, chain.block
        self._pictures = way_in.pictures if way_in is not None else None
        self._plain = ways_out
        self.quick = False
        """Whether the native step settles everything, as long as nobody sends an entry himself."""
        key, index = f"chain:{chain.chain.id}", chain.block.index
        self._state = index(f"{key}.state") if chain.state_area is not None else -1
        self._changes = np.zeros(2 * (5 + 2 * len(ways_out)), np.int64)
        self._table = np.zeros((len(ways_out), at.OUT_WORDS), np.int64)
        self._array = np.zeros(at.WORDS, np.int64)
        self.address: int = self._array.ctypes.data
        words = self.words = self._array.data
        words[at.BLOCK], words[at.JOURNAL], words[at.HEAD] = self.block.words_address, self.block.journal_address, head
        words[at.CHANGES], words[at.OUT_TABLE] = self._changes.ctypes.data, self._table.ctypes.data
        words[at.NEXT_SEQ] = -1
        if chain.source is not None:
            words[at.NEXT_SEQ], words[at.LAST_PTS] = index(f"{key}.next_seq"), index(f"{key}.last_pts")
            stream = chain.source.key
            words[at.SHOTS_IN], words[at.SHOTS_OUT] = index(f"{stream}.in"), index(f"{stream}.out")
        if way_in is not None and self._pictures is not None:
            words[at.IN_LINK] = self._pictures.address
            words[at.IN], words[at.OUT], words[at.IN_TURN], words[at.IN_SETTLED] = way_in.counts
        me = ref(self)  # a way that led back to us would keep links in memory that are not used any more
        for way in ways_out:
            way.on_plain = partial(_not_quick, me)
        self._settle: Callable[[], int] = partial(kernels.functions()["ace_settle"], self.address)

    def begin(self) -> bool:
        """Looks at who has entries under way that it sent itself: they are counted there. Gives `quick`.

        To be asked when nothing waits to be settled.
        """
        quick = [way for way in self.ways_out if way.quick()]
        self._plain = [way for way in self.ways_out if way not in quick]
        for row, way in zip(self._table, quick, strict=False):
            row[:] = way.row()
            way.edge.forget()
        self.words[at.OUTS] = len(quick)
        self.words[at.OTHERS] = 0
        self.quick = not self._plain and self._state < 0 and (self.way_in is None or self._pictures is not None)
        return self.quick

    def count_shots(self) -> None:
        """Counts what a source has given, which the native step counts with the rest."""
        own, words = self.words, self.block.words
        for word in (own[at.SHOTS_IN], own[at.SHOTS_OUT]):
            words[word] += own[at.SHOTS]
        own[at.SHOTS] = 0

    def settle(self, frames: int) -> None:
        """So many frames more have been passed on, and their results are published."""
        chain, way_in, block = self.chain, self.way_in, self.block
        if not (self.quick or self.begin()):
            words, changes = block.words, self._changes.data
            pairs: list[int] = []
            if self._state >= 0:
                state = chain.save()
                number = words[self._state] + 1
                if state and chain.state_area is not None:
                    block.save_state(chain.state_area, number, state)
                pairs += (self._state, number)
            if way_in is not None and self._pictures is None:
                taken, out, turn_word, settled = way_in.counts
                words[taken] += frames
                words[out] += frames
                turn = way_in.edge.settled_turn = way_in.edge.next_turn
                pairs += (turn_word, turn, settled, words[taken])
            for way in self._plain:
                given, _, turn_word, settled = way.counts
                pairs += (turn_word, way.finish(), settled, words[given])
                way.edge.forget()
            for place, number in enumerate(pairs):
                changes[place] = number
            self.words[at.OTHERS] = len(pairs) // 2
        self._settle()
        if way_in is not None and self._pictures is None:
            way_in.finish()


def _not_quick(books: ref[Books]) -> None:
    """An entry was sent that the native step does not know of."""
    if (found := books()) is not None:
        found.quick = False
