"""The state of a chain: its last frame, and the state of each of its stateful nodes by their place in the chain.

It is kept in the ledger block, so it outlives the worker: a successor takes it up, or an heir in another plan.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from flow.entry import Entry, Kind
from flow.ledger import Block
from flow.worker.node import AbsentNode, NodeRunner

LAST = struct.Struct("<7q")
"""The last frame: stream, epoch, seq, pts, time, capture, flags."""
PART = struct.Struct("<II")


def pack(last: Entry, states: Iterable[tuple[int, bytes]]) -> bytes:
    """As bytes. `states`: (place of the node in the chain, its state)."""
    time_ns = -1 if last.time_ns is None else last.time_ns
    parts = [LAST.pack(last.stream, last.epoch, last.seq, last.pts_ns, time_ns, last.capture_ns, last.flags)]
    parts += [PART.pack(place, len(state)) + state for place, state in states]
    return b"".join(parts)


def unpack(data: bytes) -> tuple[Entry, dict[int, bytes]]:
    """The last frame, and state by place."""
    stream, epoch, seq, pts, time_ns, capture, flags = LAST.unpack_from(data)
    last = Entry(Kind.FRAME, stream, epoch, seq, pts, None if time_ns < 0 else time_ns, capture, flags)
    start, states = LAST.size, {}
    while start < len(data):
        place, length = PART.unpack_from(data, start)
        start += PART.size
        states[place] = data[start : start + length]
        start += length
    return last, states


class ChainState:
    """Saves and restores the nodes of one chain. `key`: the counter of states saved; `area`: where, None where no node has a state."""

    def __init__(self, key: str, nodes: Sequence[NodeRunner | AbsentNode], block: Block, area: int | None) -> None:
        self.key, self.nodes, self.block, self.area = key, nodes, block, area

    def save(self, last: Entry) -> bytes:
        """The last frame, and the states of all stateful nodes; nothing when one cannot be saved."""
        states = []
        for place, node in enumerate(self.nodes):
            if node.node.kind == "stateful":
                state = node.save()
                if state is None:
                    return b""
                states.append((place, state))
        return pack(last, states)

    def restore(self, *, restarted: bool) -> Entry | None:
        """Takes over what an earlier life saved, and gives its last frame; nodes without a state start empty."""
        states: dict[int, bytes] = {}
        last, number = None, self.block.get(self.key)
        saved = self.block.load_state(self.area, last=number) if self.area is not None and restarted else None
        if saved is not None and saved[0] == number:  # an older one is of another frame
            last, states = unpack(saved[1])
        for place, node in enumerate(self.nodes):
            if node.node.kind != "stateful" or not number:  # without a frame that is settled there is nothing to lose: all come again
                continue
            try:
                node.restore(states[place])
            except (KeyError, ValueError):
                self._reset(node)
        return last

    def inherit(self, states: Mapping[str, bytes | None]) -> dict[str, str]:
        """Takes over states, by address (None: it is lost), unless the chain has gone on from them before; what was refused, and why."""
        refused: dict[str, str] = {}
        if self.area is None or self.block.get(self.key):
            return refused
        for node in self.nodes:
            address = node.node.address
            if address not in states:
                continue
            state = states[address]
            if state is None:
                self._reset(node)
                continue
            try:
                node.restore(state)
            except ValueError as error:
                refused[address] = str(error)
                self._reset(node)
        return refused

    def _reset(self, node: NodeRunner | AbsentNode) -> None:
        """The node starts empty, and the next result says so."""
        node.was_reset = True
        self.block.add("state_resets")
