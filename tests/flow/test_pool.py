"""Slots: who may write, when one is free, and that nobody reads one after it was recycled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import pool
from flow.pool import Pool, PoolError, PoolShape


def ends(shape: PoolShape) -> tuple[list[Pool], int]:
    """One end for each row, and the table's descriptor."""
    data, table = pool.allocate(shape)
    made = [Pool(shape, os.dup(data) if row == 0 else pool.read_only(data), os.dup(table), row) for row in range(shape.rows)]
    os.close(data)
    return made, table


def test_a_consumer_sees_what_the_owner_wrote_and_cannot_write() -> None:
    (owner, consumer), table = ends(PoolShape(0, 2, 4096, 2))
    ref = owner.acquire()
    assert ref is not None
    owner.view(ref.slot)[:3] = (1, 2, 3)
    received = consumer.receive(ref.slot, ref.generation)
    assert consumer.view(received.slot)[:3].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        consumer.view(received.slot)[0] = 9
    os.close(table)


def test_a_slot_is_free_only_when_nobody_holds_it() -> None:
    (owner, consumer), table = ends(PoolShape(0, 1, 4096, 2))
    ref = owner.acquire()
    assert ref is not None
    assert owner.acquire() is None
    received = consumer.receive(ref.slot, ref.generation)
    owner.release(ref)
    assert owner.acquire() is None
    consumer.release(received)
    again = owner.acquire()
    assert again is not None
    assert again.generation == ref.generation + 1
    os.close(table)


def test_a_recycled_slot_is_refused_and_not_held() -> None:
    (owner, consumer), table = ends(PoolShape(0, 1, 4096, 2))
    first = owner.acquire()
    assert first is not None
    owner.release(first)
    owner.acquire()
    with pytest.raises(PoolError, match="expected generation 1, got 2"):
        consumer.receive(first.slot, first.generation)
    assert consumer.holds() == 0
    with pytest.raises(PoolError, match="slot below 1, got 7"):
        consumer.receive(7, 1)
    os.close(table)


def test_what_a_dead_consumer_held_is_free_once_its_row_is_cleared() -> None:
    shape = PoolShape(0, 3, 4096, 3)
    (owner, dead, other), table = ends(shape)
    refs = [owner.acquire() for _ in range(3)]
    for ref in refs:
        assert ref is not None
        dead.receive(ref.slot, ref.generation)
        owner.release(ref)
    assert refs[0] is not None
    other.receive(refs[0].slot, refs[0].generation)
    pool.write_row(shape, table, 1, {})
    assert owner.available() == 2
    assert pool.held_slots(shape, table) == 1
    os.close(table)


def test_memory_that_is_not_there_is_an_error_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(PoolError, match=r"expected 8\d* bytes of shared memory"):
        pool.allocate(PoolShape(0, 2, 4096, 1))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=60))
def test_holds_never_lie(steps: list[tuple[int, int]]) -> None:
    """Whatever is acquired, passed on and released in whatever order: a slot is given out only when every hold is gone."""
    shape = PoolShape(0, 4, 64, 3)
    workers, table = ends(shape)
    held: list[list[pool.SlotRef]] = [[], [], []]
    for who, what in steps:
        if what == 0 and who == 0:
            ref = workers[0].acquire()
            busy = {ref.slot for refs in held for ref in refs}
            assert (ref is None) == (len(busy) == shape.slots)
            if ref is not None:
                assert ref.slot not in busy
                held[0].append(ref)
        elif what == 1 and who < 2 and held[who]:
            ref = held[who][-1]
            held[who + 1].append(workers[who + 1].receive(ref.slot, ref.generation))
        elif what >= 2 and held[who]:
            workers[who].release(held[who].pop())
    assert [worker.holds() for worker in workers] == [len(refs) for refs in held]
    os.close(table)
