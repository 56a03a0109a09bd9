"""What a chain's common path settles: counters that a successor goes on from, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from devices import kernels
from devices.kernels.links import PTS, SEQ
from flow.worker.ways import FramesIn, FramesOut

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner


class Books:
    """The words that a settlement changes, in the order in which `settle` fills them in. `head`: words of the last frame's head."""

    def __init__(self, chain: ChainRunner, way_in: FramesIn | None, ways_out: list[FramesOut], head: Any) -> None:
        self.chain, self.way_in, self.ways_out, self.head, self.block = chain, way_in, ways_out, head, chain.block
        key, index = f"chain:{chain.chain.id}", chain.block.index
        changed = [index(f"{key}.state")] if chain.state_area is not None else []
        if chain.source is not None:
            changed += [index(f"{key}.next_seq"), index(f"{key}.last_pts")]
        if way_in is not None:
            changed += way_in.counts[2:]
        for way in ways_out:
            changed += way.counts[2:]
        self._changes_array = np.zeros(2 * len(changed), np.int64)
        self._changes_array[::2] = changed
        self._changes: Any = self._changes_array.data
        self._commit = kernels.functions()["ace_commit"]
        self._commit_what = self.block.journal_address, self.block.words_address, self._changes_array.ctypes.data, len(changed)

    def settle(self, frames: int) -> None:
        """So many frames more have been passed on, and their results are published."""
        chain, block, way_in, head, changes = self.chain, self.block, self.way_in, self.head, self._changes
        words = block.words
        place = 1
        if chain.state_area is not None:
            state = chain.save()
            number = words[changes[0]] + 1
            if state:
                block.save_state(chain.state_area, number, state)
            changes[place] = number
            place += 2
        if chain.source is not None:
            changes[place], changes[place + 2] = head[SEQ] + 1, head[PTS]
            place += 4
        if way_in is not None:
            taken, out, _, _ = way_in.counts
            words[taken] += frames
            words[out] += frames
            way_in.edge.settled_turn = changes[place] = way_in.turn()
            changes[place + 2] = words[taken]
            place += 4
        for way in self.ways_out:
            changes[place], changes[place + 2] = way.finish(), words[way.counts[0]]
            way.edge.forget()
            place += 4
        self._commit(*self._commit_what)
        if way_in is not None:
            way_in.finish()
