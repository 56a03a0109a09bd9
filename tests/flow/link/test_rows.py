"""Rows over a ring: whole, in order, however long, through the death of their writer."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import kernels
from flow.link.bell import Bell, LiveBell, Rest
from flow.link.ring import RingReceiver, RingSender, allocate
from flow.link.rows import PART_BYTES, SHAPE, RowReceiver, RowSender


class Way:
    """A ring for rows with the bells of both ends; writers come and go."""

    def __init__(self) -> None:
        kernels.ensure()
        self.fd = allocate(SHAPE, "test-rows")
        self.writer, self.reader = LiveBell("writer"), LiveBell("reader")
        self.receiver = RowReceiver(RingReceiver(SHAPE, os.dup(self.fd), self._other(self.writer)))

    def sender(self) -> RowSender:
        return RowSender(RingSender(SHAPE, os.dup(self.fd), self._other(self.reader)))

    @staticmethod
    def _other(bell: LiveBell) -> Bell:
        return Bell(os.dup(bell.bell), os.dup(bell.word_read_only), own=False)

    def close(self) -> None:
        self.receiver.close()
        os.close(self.fd)
        self.writer.close()
        self.reader.close()


@pytest.fixture
def way() -> Iterator[Way]:
    made = Way()
    yield made
    made.close()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([1, 300, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 70 * PART_BYTES]), max_size=90))
def test_rows_of_any_length_arrive_whole_and_in_order(lengths: list[int]) -> None:
    way = Way()
    sender = way.sender()
    rows = [bytes([place % 251]) * length for place, length in enumerate(lengths)]
    got: list[bytes] = []
    for row in rows:
        sender.give(row)
    for _ in range(200 + sum(lengths) // PART_BYTES):
        got += way.receiver.rows()
        way.receiver.keep(0)
        sender.pump()
    assert got == rows
    assert sender.published == sender.given == len(rows)
    sender.close()
    way.close()


def test_unread_rows_hold_the_writer_back_and_reading_wakes_it(way: Way) -> None:
    sender = way.sender()
    for _ in range(SHAPE.entries):
        assert sender.ready()
        sender.give(b"row")
    assert not sender.ready()
    assert sum(1 for _ in way.receiver.rows()) == SHAPE.entries
    way.receiver.keep(SHAPE.entries)
    assert not sender.stirs()
    assert not sender.ready()
    resting = Bell(os.dup(way.writer.bell), os.dup(way.writer.word), own=True)
    resting.rest(Rest.FOR_ROOM)
    way.receiver.keep(SHAPE.entries - 1)
    assert os.eventfd_read(way.writer.bell) == 1, "the writer sleeps for room, and has some"
    assert sender.stirs()
    assert sender.ready()
    resting.close()
    sender.close()


def test_a_row_is_published_only_when_all_of_it_is(way: Way) -> None:
    sender = way.sender()
    sender.give(b"x" * (SHAPE.entries + 1) * PART_BYTES)
    assert sender.published == 0
    assert list(way.receiver.rows()) == []
    way.receiver.keep(0)
    assert sender.pump()
    assert sender.published == 1
    assert [len(row) for row in way.receiver.rows()] == [(SHAPE.entries + 1) * PART_BYTES]
    sender.close()


def test_what_a_dead_writer_began_is_no_part_of_its_successors_first_row(way: Way) -> None:
    first = way.sender()
    first.give(b"whole")
    first.give(b"x" * (SHAPE.entries + 1) * PART_BYTES)
    assert list(way.receiver.rows()) == [b"whole"]
    first.close()
    way.receiver.renew(way._other(way.writer))
    way.receiver.keep(0)
    second = way.sender()
    second.give(b"again")
    assert list(way.receiver.rows()) == [b"again"]
    second.close()


def test_room_is_told_of_once(way: Way) -> None:
    """Who has nothing to give is not woken for it over and over."""
    sender = way.sender()
    for _ in range(SHAPE.entries):
        sender.give(b"row")
    assert not sender.stirs()
    list(way.receiver.rows())
    way.receiver.keep(0)
    assert sender.stirs()
    assert not sender.stirs()
    assert sender.ready()
    sender.close()
