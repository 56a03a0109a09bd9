"""Where inputs meet: by frame within a stream, by timestamp between streams; never hanging, never guessing."""

from __future__ import annotations

from collections import deque
from typing import Any

from flow.entry import Entry, Kind
from flow.worker.join import Join


class Line:
    """An in-edge reduced to its queue."""

    replicas = 1

    def __init__(self, *entries: Entry) -> None:
        self.queue = deque(enumerate(entries))
        self.finished: list[tuple[int, bool]] = []
        self.abandoned = False

    def put(self, *entries: Entry) -> None:
        for entry in entries:
            self.queue.append((100 + len(self.queue), entry))

    def finish(self, entry: Entry, *, joined: bool = True) -> None:
        self.finished.append((entry.seq, joined))

    def abandon(self) -> None:
        self.abandoned = True


def frame(seq: int, pts: int | None = None, stream: int = 0) -> Entry:
    return Entry(Kind.FRAME, stream, 0, seq, seq * 40 if pts is None else pts, None, 0)


def bound(seq: int) -> Entry:
    return Entry(Kind.BOUND, 0, 0, seq, seq * 40, None, 0)


END = Entry(Kind.END, 0, 0, 1 << 62, 1 << 62, None, 0)


def join(*anchor: Line, others: tuple[tuple[Line, ...], ...] = ()) -> Any:
    return Join(anchor, others)  # type: ignore[arg-type]


def test_frames_of_one_stream_meet_by_number() -> None:
    one, two = Line(frame(0), frame(1)), Line(frame(0))
    meet = join(one, two)
    assert set(meet.next().entries) == {one, two}
    assert meet.next() is None, "the second frame has not come on the other edge"
    two.put(frame(1))
    assert meet.next().head.seq == 1


def test_an_edge_that_has_gone_past_a_frame_is_not_waited_for() -> None:
    one, two = Line(frame(0), frame(1), frame(2)), Line(frame(2))
    meet = join(one, two)
    assert [set(meet.next().entries) for _ in range(3)] == [{one}, {one}, {one, two}]


def test_a_bound_stands_for_a_frame_without_a_value() -> None:
    one, two = Line(frame(0)), Line(bound(0))
    met = join(one, two).next()
    assert met.entries[two].kind is Kind.BOUND
    assert met.head.kind is Kind.FRAME
    met.release()
    assert one.finished == [(0, False)]


def test_another_stream_gives_its_latest_frame_once_that_is_certain() -> None:
    anchor, side = Line(frame(0, 0), frame(1, 40), frame(2, 80)), Line(frame(0, 0, 1), frame(1, 50, 1))
    meet = join(anchor, others=((side,),))
    assert meet.next().entries[side].seq == 0
    assert meet.next().entries[side].seq == 0, "the frame at 50 is later than the anchor's 40"
    assert meet.next() is None, "a frame between 50 and 80 may still come"
    side.put(frame(2, 120, 1))
    met = meet.next()
    assert met.entries[side].seq == 1
    assert met.joined == ((0, 2, 80), (1, 1, 50))
    assert meet.passed[-1] == (side, 0), "the frame at 50 is still needed: a successor must get it again"


def test_the_end_of_the_anchor_lets_the_other_stream_go() -> None:
    anchor, side = Line(frame(0, 0), END), Line(frame(0, 0, 1), frame(1, 10, 1))
    meet = join(anchor, others=((side,),))
    assert not meet.next().ended
    assert meet.next().ended
    assert side.abandoned


def test_the_end_of_another_stream_keeps_its_last_frame() -> None:
    anchor, side = Line(frame(0, 0), frame(1, 40), frame(2, 80)), Line(frame(0, 0, 1), END)
    meet = join(anchor, others=((side,),))
    assert [meet.next().entries[side].seq for _ in range(3)] == [0, 0, 0]


def test_one_edge_may_end_before_the_other_has_caught_up() -> None:
    one, two = Line(END), Line(frame(0), frame(1), END)
    meet = join(one, two)
    assert [set(meet.next().entries) for _ in range(2)] == [{two}, {two}]
    assert meet.next().ended


def test_frames_that_met_in_an_earlier_join_are_among_those_that_meet() -> None:
    """A join of joins: the result names one frame of each stream, its anchor first."""
    met, other = frame(2), frame(7, 70, stream=2)
    met.joined = ((0, 2, 80), (1, 5, 75))
    other.joined = ((2, 7, 70), (3, 4, 66))
    anchor, group = Line(met), Line(other, frame(8, 90, stream=2))
    assert join(anchor, others=((group,),)).next().joined == ((0, 2, 80), (1, 5, 75), (2, 7, 70), (3, 4, 66))
    plain, before = Line(frame(2)), Line(met)
    assert join(plain, before).next().joined == ((0, 2, 80), (1, 5, 75)), "whichever of the anchor's edges brings them"
