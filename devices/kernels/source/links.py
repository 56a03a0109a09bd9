# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Entries with one picture, into a ring and out of it: what a worker does for every frame, in one step each."""

from __future__ import annotations

import numpy as np

from devices.kernels import links as at
from devices.kernels.source.memory import load_i32, load_i64, load_u8, load_u16, store_i32, store_i64, store_u8, store_u16
from devices.kernels.source.rows import kernel
from devices.kernels.source.system import ring
from devices.kernels.source.words import observe, publish

FRAME, SLOT = np.uint8(1), np.uint8(2)
HEAD = at.RECORD_BYTES
ITEM = HEAD + at.HEAD_BYTES
PICTURE = ITEM + at.ITEM_BYTES


@kernel
def give(link, head, pool_and_slot, generation, hold):
    """Publishes one picture, and rings where somebody sleeps for it; the worker's hold of its slot, counted at `hold`, is taken. The
    caller has seen that there is room.

    Who is woken mostly waits for this processor, and would not have it before we sleep. 1 where frames come so far apart that it should go
    first (once all links have their entry), else 0.
    """
    count = load_i64(link, at.COUNT)
    turn = load_i64(link, at.TURN)
    place = count % load_i64(link, at.PLACES)
    record = load_i64(link, at.BASE) + place * load_i64(link, at.STRIDE)
    store_i64(record, 0, turn)
    store_i32(record, 2, np.int32(at.ENTRY_BYTES))
    start = record + HEAD
    store_u8(start, 0, FRAME)
    store_u8(start, 1, np.uint8(load_i64(head, at.FLAGS)))
    store_u16(start, 1, np.uint16(load_i64(head, at.STREAM)))
    store_i32(start, 1, np.int32(load_i64(head, at.EPOCH)))
    store_i64(start, 1, load_i64(head, at.SEQ))
    store_i64(start, 2, load_i64(head, at.PTS))
    store_i64(start, 3, load_i64(head, at.TIME))
    store_i64(start, 4, load_i64(head, at.CAPTURE))
    store_u16(start, 20, np.uint16(1))
    store_u16(start, 21, np.uint16(0))
    item = record + ITEM
    store_i32(item, 0, np.int32(SLOT))
    store_i32(item, 1, np.int32(pool_and_slot >> at.POOL_SHIFT))
    store_i32(item, 2, np.int32(pool_and_slot & 0xFFFFFFFF))
    store_i32(item, 3, np.int32(generation))
    store_i32(item, 4, np.int32(0))
    store_i32(item, 5, np.int32(at.PICTURE_BYTES))
    picture, source = record + PICTURE, load_i64(link, at.PICTURE)
    for word in range(at.PICTURE_BYTES // 4):
        store_i32(picture, word, load_i32(source, word))
    store_i32(hold, 0, np.int32(load_i32(hold, 0) + 1))
    store_i64(load_i64(link, at.HOLDS), place, hold)
    store_i64(link, at.COUNT, count + 1)
    store_i64(link, at.TURN, turn + load_i64(link, at.STEP))
    capture = load_i64(head, at.CAPTURE)
    apart = capture - load_i64(link, at.LAST) > at.APART_NS
    store_i64(link, at.LAST, capture)
    if publish(load_i64(link, at.OWN_WORD), count + 1, load_i64(link, at.WATCHED)) != 0:
        ring(load_i64(link, at.BELL))
        return np.int64(apart)
    return np.int64(0)


@kernel
def finish(link):
    """Says that everything taken so far is finished with, and rings where somebody sleeps for room."""
    if publish(load_i64(link, at.OWN_WORD), load_i64(link, at.COUNT), load_i64(link, at.WATCHED)) >= at.FOR_ROOM:
        ring(load_i64(link, at.BELL))
    return np.int64(0)


@kernel
def reap(link):
    """Lets go of what the other end has finished with; how many more entries may be given."""
    seen, count = load_i64(link, at.SEEN), load_i64(link, at.COUNT)
    head = observe(load_i64(link, at.OTHER_WORD))
    holds, places, done = load_i64(link, at.HOLDS), load_i64(link, at.PLACES), load_i64(link, at.DONE)
    while seen < head:
        place = seen % places
        hold = load_i64(holds, place)
        if hold != 0:
            store_i32(hold, 0, np.int32(load_i32(hold, 0) - 1))
            store_i64(holds, place, 0)
            done += 1
        seen += 1
    store_i64(link, at.SEEN, head)
    store_i64(link, at.DONE, done)
    return load_i64(link, at.CREDITS) - (count - head)


@kernel
def take(link, head):
    """The next entry, if it is one picture in a slot that is still what the entry says: its head is stored at `head`.

    Gives (place of the pool in the link's table << POOL_SHIFT) | (slot << SLOT_SHIFT) | NEW_PICTURE where what comes with the slot is
    unlike last time; NOTHING; or RARE, and the entry stays.
    """
    count = load_i64(link, at.COUNT)
    if count == load_i64(link, at.SEEN):
        seen = observe(load_i64(link, at.OTHER_WORD))
        store_i64(link, at.SEEN, seen)
        if count == seen:
            return np.int64(at.NOTHING)
    turn = load_i64(link, at.TURN)
    record = load_i64(link, at.BASE) + (count % load_i64(link, at.PLACES)) * load_i64(link, at.STRIDE)
    start, item = record + HEAD, record + ITEM
    if (
        load_i64(record, 0) != turn
        or load_i32(record, 2) != at.ENTRY_BYTES
        or load_u8(start, 0) != FRAME
        or load_u16(start, 20) != 1
        or load_u16(start, 21) != 0
        or load_u8(item, 0) != SLOT
        or load_i32(item, 4) != 0
        or load_i32(item, 5) != at.PICTURE_BYTES
    ):
        return np.int64(at.RARE)
    number, slot = load_i32(item, 1), np.int64(load_i32(item, 2))
    table, place = load_i64(link, at.POOL_TABLE), np.int64(0)
    while place < load_i64(link, at.POOLS) and load_i64(table, place * at.POOL_WORDS) != number:
        place += 1
    if place == load_i64(link, at.POOLS) or slot < 0 or slot >= load_i64(table, place * at.POOL_WORDS + 2):
        return np.int64(at.RARE)
    if load_i32(load_i64(table, place * at.POOL_WORDS + 1), slot) != load_i32(item, 3):
        return np.int64(at.RARE)
    changed = np.int64(0)
    picture, known = record + PICTURE, load_i64(link, at.PICTURE)
    for word in range(at.PICTURE_BYTES // 4):
        value = load_i32(picture, word)
        if value != load_i32(known, word):
            store_i32(known, word, value)
            changed = np.int64(at.NEW_PICTURE)
    store_i64(head, at.FLAGS, np.int64(load_u8(start, 1)))
    store_i64(head, at.STREAM, np.int64(load_u16(start, 1)))
    store_i64(head, at.EPOCH, np.int64(load_i32(start, 1)) & 0xFFFFFFFF)
    store_i64(head, at.SEQ, load_i64(start, 1))
    store_i64(head, at.PTS, load_i64(start, 2))
    store_i64(head, at.TIME, load_i64(start, 3))
    store_i64(head, at.CAPTURE, load_i64(start, 4))
    store_i64(link, at.COUNT, count + 1)
    store_i64(link, at.TURN, turn + load_i64(link, at.STEP))
    rest = load_i64(link, at.REST)
    if rest != 0 and load_i64(rest, 0) != 0:
        store_i64(rest, 0, 0)
    return (place << at.POOL_SHIFT) | (slot << at.SLOT_SHIFT) | changed
