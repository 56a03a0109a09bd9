"""Where frames leave a chain: straight on, or, behind a source that thins its frames, the newest ones as consumers can take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flow.entry import Entry, Kind, Place
from flow.plan.value import Policy, Sample
from flow.worker.out_edge import OutEdge, Packed


class Gate:
    """The way out to edges that take a frame all together or not at all (mostly there is only one).

    `block` is ready only while every edge has credit, so the chain waits. `latest` keeps one frame waiting and `drop_oldest` keeps
    `queue`; what has to give way is counted on every edge.

    A sample of spans of time is followed by a bound each: a join then knows what its last frames meet, without waiting for the next span.
    """

    def __init__(self, edges: Sequence[tuple[OutEdge, Sequence[int], Sequence[Place]]], policy: Policy, queue: int) -> None:
        self.edges = edges
        self.policy = policy
        self.thinning = policy in ("latest", "drop_oldest")
        self.keep = queue if policy == "drop_oldest" else int(self.thinning)
        """So many frames may wait."""
        self.sample = edges[0][0].edge.sample
        """Which frames are offered; None: all."""
        self._lap = -1
        """Of the sampled span whose end was told last."""
        self.pending: deque[list[Packed | None]] = deque()

    def ready(self) -> bool:
        """Whether an entry may be offered now without waiting."""
        return self.thinning or self._open()

    def takes(self) -> bool:
        """Whether a frame offered now could go on at once, as far as any thread can see."""
        for edge, _, _ in self.edges:  # noqa: SIM110 - asked for every frame of a camera, where a generator costs more than the question
            if not edge.takes():
                return False
        return True

    def _open(self) -> bool:
        return all(edge.stopped or edge.credit() for edge, _, _ in self.edges)

    def offer(self, entries: Sequence[Entry]) -> list[tuple[OutEdge, int]]:
        """Sends an entry to each edge, or keeps or drops it; gives the edges with the turns that follow."""
        if self.sample is not None and not self.sample.takes(entries[0].seq, entries[0].pts_ns):
            if not self._is_over(self.sample, entries[0].pts_ns):
                return [(edge, edge.turn) for edge, _, _ in self.edges]
            entries = [outgoing(entry, []) for entry in entries]
        packed = [edge.pack(entry, places) for (edge, _, places), entry in zip(self.edges, entries, strict=True)]
        self.pending.append(packed)
        self.pump()
        while (place := self._superfluous()) is not None:
            for (edge, _, _), one in zip(self.edges, self.pending[place], strict=True):
                if one is not None:
                    edge.drop(one, self.policy if edge.linked() else "switch")
            del self.pending[place]
        self._note()
        return [(edge, edge.turn) for edge, _, _ in self.edges]

    def _is_over(self, sample: Sample, pts_ns: int) -> bool:
        """Whether this is the first frame after a sampled span."""
        if not sample.timed:
            return False
        before, self._lap = self._lap, pts_ns // sample.lap_ns
        return self._lap != before

    def _superfluous(self) -> int | None:
        """The place of what gives way to what came after it: the oldest frame of too many, or a bound right before another one."""
        if len(self.pending) <= self.keep:
            return None
        if not self.thinning:
            return 0
        frames = [any(one is not None and one.frame for one in packed) for packed in self.pending]
        if sum(frames) > self.keep:
            return frames.index(True)
        return next((place for place, both in enumerate(pairwise(frames)) if not any(both)), None)

    def pump(self) -> bool:
        """Sends what waits, as far as credits go; whether anything went."""
        moved = False
        while self.pending and self._open():
            moved = True
            for (edge, _, _), one in zip(self.edges, self.pending.popleft(), strict=True):
                if one is not None:
                    edge.drop(one, "stopped") if edge.stopped else edge.send(one)
        if moved:
            self._note()
        return moved

    def _note(self) -> None:
        for place, (edge, _, _) in enumerate(self.edges):
            edge.waiting = sum(one.frame for packed in self.pending if (one := packed[place]) is not None)
            edge.note()


def outgoing(entry: Entry, values: list[Any]) -> Entry:
    """The entry for one edge: with its values, or a bound when it has none."""
    kind = Kind.FRAME if any(value is not None for value in values) else Kind.BOUND
    return Entry(
        kind, entry.stream, entry.epoch, entry.seq, entry.pts_ns, entry.time_ns, entry.capture_ns, entry.flags,
        tuple(values) if kind is Kind.FRAME else (), entry.joined,
    )  # fmt: skip


def gates(edges: Sequence[tuple[OutEdge, Sequence[int], Sequence[Place]]]) -> list[Gate]:
    """A gate for each group of edges that belong together."""
    groups: dict[tuple[str, int], list[tuple[OutEdge, Sequence[int], Sequence[Place]]]] = {}
    for one in edges:
        edge = one[0].edge
        groups.setdefault(("together", edge.together) if edge.together is not None else ("alone", edge.id), []).append(one)
    return [Gate(group, group[0][0].edge.policy, group[0][0].edge.queue) for group in groups.values()]
