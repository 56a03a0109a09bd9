"""A sample of frames at the way out of a source: which are offered, what joins are told of the others, and what gives way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from flow.entry import Entry, Kind
from flow.plan.value import Edge, Policy, Sample
from flow.worker.gate import Gate
from flow.worker.out_edge import Packed

EVERY, SPAN = 4, 10
LAP = EVERY * SPAN


class Way:
    """An out-edge reduced to what goes over it while there is `room`."""

    stopped, turn, waiting = False, 0, 0

    def __init__(self, sample: Sample | None, room: int) -> None:
        self.edge = Edge(0, 0, 1, (), 1, 0, sample=sample)
        self.room = room
        self.sent: list[tuple[Kind, int]] = []
        self.dropped: list[tuple[Kind, int]] = []

    def credit(self) -> bool:
        return len(self.sent) < self.room

    def linked(self) -> bool:
        return True

    def pack(self, entry: Entry, places: Sequence[Any]) -> Packed:
        return Packed(bytes([entry.kind, entry.pts_ns]), [], entry.kind is Kind.FRAME)

    def send(self, packed: Packed) -> None:
        self.sent.append((Kind(packed.data[0]), packed.data[1]))

    def drop(self, packed: Packed, cause: str) -> None:
        self.dropped.append((Kind(packed.data[0]), packed.data[1]))

    def note(self) -> None:
        return


def sampled(sample: Sample, times: Sequence[int], *, room: int = 1000, policy: Policy = "drop_oldest", queue: int = 3) -> tuple[Gate, Way]:
    """A gate that frames of these times were offered to, numbered from 0."""
    way: Any = Way(sample, room)
    gate = Gate([(way, [], [])], policy, queue)
    for seq, pts in enumerate(times):
        gate.offer([Entry(Kind.FRAME, 0, 0, seq, pts, None, 0, values=(np.zeros(1),))])
    return gate, way


def test_frames_that_meet_no_others_are_chosen_by_their_number() -> None:
    _, way = sampled(Sample(3), range(10))
    assert way.sent == [(Kind.FRAME, pts) for pts in (0, 3, 6, 9)]
    thinned = Sample(3, span=2)  # of a stream that itself leaves out every other frame
    assert [seq for seq in range(0, 24, 2) if thinned.takes(seq, 0)] == [0, 6, 12, 18]


@pytest.mark.parametrize("period", [1, 3, 7])
def test_streams_of_all_rates_are_sampled_in_the_same_spans_of_time(period: int) -> None:
    """The end of each span is told once, so that a join knows at once what the last frames before it meet."""
    _, way = sampled(Sample(EVERY, SPAN, timed=True), range(0, 5 * LAP, period))
    frames = [pts for kind, pts in way.sent if kind is Kind.FRAME]
    assert frames == [pts for pts in range(0, 5 * LAP, period) if pts % LAP < SPAN]
    ends = [pts for kind, pts in way.sent if kind is Kind.BOUND]
    assert [pts // LAP for pts in ends] == list(range(5))
    assert all(SPAN <= pts % LAP < SPAN + period for pts in ends)
    assert sorted(way.sent, key=lambda sent: sent[1]) == way.sent


def test_of_a_span_that_nobody_has_time_for_the_last_frames_and_the_end_are_kept() -> None:
    gate, way = sampled(Sample(EVERY, SPAN, timed=True), range(2 * LAP), room=0)
    way.room = 1000
    gate.pump()
    assert way.sent == [(Kind.BOUND, SPAN), *((Kind.FRAME, LAP + pts) for pts in (7, 8, 9)), (Kind.BOUND, LAP + SPAN)]
    assert len(way.dropped) == 2 * (SPAN + 1) - len(way.sent)


def test_what_waits_is_bounded_whatever_is_dropped() -> None:
    gate, _ = sampled(Sample(EVERY, SPAN, timed=True), range(0, 255, 9), room=0, queue=2)
    assert len(gate.pending) <= 2 * 2 + 1
