# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""A chain's frames settled, and a source's picture sent on its way: what happens to every frame beside its operators."""

from __future__ import annotations

import numpy as np

from devices.kernels import books as at
from devices.kernels import links, slots
from devices.kernels.source.links import finish, give, reap
from devices.kernels.source.memory import load_i32, load_i64, store_i32, store_i64
from devices.kernels.source.rows import kernel
from devices.kernels.source.slots import acquire
from devices.kernels.source.system import let_others_run, monotonic_ns
from devices.kernels.source.words import close_change, commit, open_change


@kernel
def add(words, word, amount):
    """Counts."""
    store_i64(words, word, load_i64(words, word) + amount)


@kernel
def note(changes, place, word, value):
    """Puts a pair where `commit` finds it; the place of the next."""
    store_i64(changes, 2 * place, word)
    store_i64(changes, 2 * place + 1, value)
    return place + 1


@kernel
def room(books):
    """How many frames may be given now, as the link with the least room has it; lets go of what consumers have finished with."""
    least, table = np.int64(1 << 60), load_i64(books, at.OUT_TABLE)
    for out in range(load_i64(books, at.OUTS)):
        least = min(least, reap(load_i64(table, out * at.OUT_WORDS + at.OUT_LINK)))
    return least


@kernel
def settle(books):
    """Everything so far is published: what a successor needs to know is written, all of it or nothing, and producers are told. Within a
    change of the ledger.
    """
    words, head, changes = load_i64(books, at.BLOCK), load_i64(books, at.HEAD), load_i64(books, at.CHANGES)
    place = load_i64(books, at.OTHERS)
    if load_i64(books, at.NEXT_SEQ) >= 0:
        place = note(changes, place, load_i64(books, at.NEXT_SEQ), load_i64(head, links.SEQ) + 1)
        place = note(changes, place, load_i64(books, at.LAST_PTS), load_i64(head, links.PTS))
        shots = load_i64(books, at.SHOTS)
        add(words, load_i64(books, at.SHOTS_IN), shots)
        add(words, load_i64(books, at.SHOTS_OUT), shots)
        store_i64(books, at.SHOTS, 0)
    source = load_i64(books, at.IN_LINK)
    if source != 0:
        count, turn = load_i64(source, links.COUNT), load_i64(source, links.TURN)
        frames = count - load_i64(source, links.COUNTED)
        store_i64(source, links.COUNTED, count)
        store_i64(source, links.FINISHED, count)
        store_i64(source, links.SETTLED, turn)
        add(words, load_i64(books, at.IN), frames)
        add(words, load_i64(books, at.OUT), frames)
        place = note(changes, place, load_i64(books, at.IN_TURN), turn)
        place = note(changes, place, load_i64(books, at.IN_SETTLED), load_i64(words, load_i64(books, at.IN)))
    table = load_i64(books, at.OUT_TABLE)
    for out in range(load_i64(books, at.OUTS)):
        row = table + 8 * out * at.OUT_WORDS
        link, given_word = load_i64(row, at.OUT_LINK), load_i64(row, at.OUT_IN)
        reap(link)
        count, done = load_i64(link, links.COUNT), load_i64(link, links.DONE)
        frames = count - load_i64(link, links.COUNTED)
        given = load_i64(link, links.GIVEN) + frames
        store_i64(link, links.COUNTED, count)
        store_i64(link, links.GIVEN, given)
        add(words, given_word, frames)
        add(words, load_i64(row, at.OUT_OUT), done - load_i64(link, links.OUT))
        store_i64(link, links.OUT, done)
        store_i64(words, load_i64(row, at.OUT_IN_FLIGHT), given - done)
        place = note(changes, place, load_i64(row, at.OUT_TURN), load_i64(link, links.TURN))
        place = note(changes, place, load_i64(row, at.OUT_SETTLED), load_i64(words, given_word))
    commit(load_i64(books, at.JOURNAL), words, changes, place)
    if source != 0:
        finish(source)
    return np.int64(0)


@kernel
def slot(books):
    """A slot for the source's next picture, held; NONE when there is none, or no room for an entry."""
    if room(books) <= 0:
        return np.int64(slots.NONE)
    return acquire(load_i64(books, at.POOL))


@kernel
def shot(books, slot, seq, pts, time, capture):
    """The source's picture in `slot` goes to all links, and is settled."""
    words, head, pool = load_i64(books, at.BLOCK), load_i64(books, at.HEAD), load_i64(books, at.POOL)
    store_i64(head, links.FLAGS, 0)
    store_i64(head, links.SEQ, seq)
    store_i64(head, links.PTS, pts)
    store_i64(head, links.TIME, time)
    store_i64(head, links.CAPTURE, capture)
    table, hold = load_i64(books, at.OUT_TABLE), load_i64(pool, slots.HOLDS) + 4 * slot
    generation = np.int64(load_i32(load_i64(pool, slots.GENERATIONS), slot))
    named = (load_i64(books, at.POOL_NUMBER) << links.POOL_SHIFT) | slot
    yields = np.int64(0)
    for out in range(load_i64(books, at.OUTS)):
        yields |= give(load_i64(table, out * at.OUT_WORDS + at.OUT_LINK), head, named, generation, hold)
    store_i32(hold, 0, np.int32(load_i32(hold, 0) - 1))
    if yields != 0:
        let_others_run()
        now = monotonic_ns()
        for out in range(load_i64(books, at.OUTS)):
            store_i64(load_i64(table, out * at.OUT_WORDS + at.OUT_LINK), links.LAST, now)
    open_change(words)
    store_i64(books, at.SHOTS, 1)
    settle(books)
    close_change(words)
    return np.int64(0)
