"""Where inputs of a chain meet: by frame within a stream, by timestamp between streams. It never hangs and never guesses.

Edges of the anchor's stream deliver frames in order, and one that has gone past a frame will never deliver it: the frame is then processed
without it. Edges of another stream give the latest frame that is not later than the anchor's; the join waits until it is known which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flow.entry import RESET, Entry, Kind
from flow.worker.in_edge import ENDED, InEdge


@dataclass(slots=True)
class Met:
    """One frame's inputs. `taken`: what is settled with it."""

    head: Entry
    entries: dict[InEdge, Entry]
    taken: list[tuple[InEdge, int]]
    leaving: list[tuple[InEdge, Entry, bool]] = field(default_factory=list)
    joined: tuple[tuple[int, int, int], ...] = ()
    ended: bool = False

    @property
    def flags(self) -> int:
        flags = 0
        for entry in self.entries.values():
            flags |= entry.flags & RESET
        return flags

    def release(self) -> None:
        """Lets go of the entries that no later frame needs."""
        for edge, entry, used in self.leaving:
            edge.finish(entry, joined=used)


class Join:
    """`anchor`: edges of the stream whose frames pace the chain; `others`: edges of other streams, grouped by stream."""

    def __init__(self, anchor: Sequence[InEdge], others: Sequence[Sequence[InEdge]] = ()) -> None:
        self.anchor = anchor
        self.others = others
        self._latest: dict[InEdge, tuple[int, Entry]] = {}
        self.passed: list[tuple[InEdge, int]] = []
        """Turns of other streams that no later frame needs: to be settled once the frames that have met before are."""

    def epoch(self) -> int:
        """Of the next frame; 0 where it is not known yet."""
        if not all(edge.queue for edge in self.anchor):
            return 0
        return min((edge.queue[0][1] for edge in self.anchor), key=lambda entry: entry.seq).epoch

    def next(self) -> Met | None:
        """The next frame, or None when it is not known yet."""
        heads = [edge.queue[0] if edge.queue else None for edge in self.anchor]
        if any(head is None for head in heads):
            return None
        entries = [head[1] for head in heads if head is not None]
        if all(entry.kind is Kind.END for entry in entries):
            return self._end(entries)
        seq = min(entry.seq for entry in entries)
        pts = next(entry.pts_ns for entry in entries if entry.seq == seq)
        if not all(self._advance(edge, pts) for group in self.others for edge in group):
            return None
        return self._meet(seq)

    def _advance(self, edge: InEdge, pts: int) -> bool:
        """Moves an edge of another stream on to the latest frame not after `pts`; whether that is certain."""
        while edge.queue:
            turn, entry = edge.queue[0]
            if entry.kind is Kind.END or entry.pts_ns > pts:
                return True
            edge.queue.popleft()
            last = turn
            if entry.kind is Kind.FRAME:
                old = self._latest.get(edge)
                self._latest[edge] = (turn, entry)
                if old is not None:
                    edge.finish(old[1])
                last = turn - edge.replicas  # this one is needed again, also by a successor of ours
            self.passed.append((edge, last))
            if entry.pts_ns == pts:
                return True
        return False

    def _meet(self, seq: int) -> Met:
        present: dict[InEdge, Entry] = {}
        taken: list[tuple[InEdge, int]] = []
        for edge in self.anchor:
            if edge.queue[0][1].seq == seq:
                turn, entry = edge.queue.popleft()
                present[edge] = entry
                taken.append((edge, turn))
        frames = [entry for entry in present.values() if entry.kind is Kind.FRAME]
        whole = len(frames) == len(self.anchor)
        head = frames[0] if frames else next(iter(present.values()))
        met = Met(head, dict(present), taken, [(edge, entry, whole) for edge, entry in present.items()])
        for group in self.others:
            for edge in group:
                latest = self._latest.get(edge)
                if latest is not None:
                    met.entries[edge] = latest[1]
        if self.others or any(entry.joined for entry in frames):
            met.joined = _joined(head, met.entries.values())
        return met

    def _end(self, entries: list[Entry]) -> Met:
        """The anchor's stream is over: what other streams still hold can meet nobody."""
        taken = [(edge, edge.queue.popleft()[0]) for edge in self.anchor]
        for group in self.others:
            for edge in group:
                latest = self._latest.pop(edge, None)
                if latest is not None:
                    edge.finish(latest[1])
                edge.abandon()
                taken.append((edge, ENDED))
        return Met(entries[0], {}, taken, ended=True)


def _joined(head: Entry, entries: Iterable[Entry]) -> tuple[tuple[int, int, int], ...]:
    """The frames that these entries stand for, the head's first: one of each stream, also of those that met in an earlier join."""
    found = {head.stream: (head.stream, head.seq, head.pts_ns)}
    for entry in entries:
        for one in entry.joined or ((entry.stream, entry.seq, entry.pts_ns),):
            found.setdefault(one[0], one)
    return tuple(found.values())
