"""The saved state of a chain: its last frame, and the state of each of its stateful nodes by their place in the chain."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from flow.entry import Entry, Kind

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
