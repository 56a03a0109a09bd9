# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""A worker's way from one picture to the next: settling, looking, sleeping, taking."""

from __future__ import annotations

import numpy as np

from devices.kernels import books as of
from devices.kernels import lane as at
from devices.kernels import links
from devices.kernels.source.books import room, settle
from devices.kernels.source.links import take
from devices.kernels.source.memory import load_i32, load_i64, store_i64
from devices.kernels.source.rows import kernel
from devices.kernels.source.system import let_others_run, monotonic_ns, wait
from devices.kernels.source.words import close_change, observe, open_change, publish


@kernel
def looks(lane, link):
    """Looks out for an entry for a moment, which is others' if they wait for this processor; whether one came."""
    end = monotonic_ns() + load_i64(lane, at.LOOK_NS)
    while observe(load_i64(link, links.OTHER_WORD)) == load_i64(link, links.COUNT):
        if monotonic_ns() > end:
            return False
        let_others_run()
    return True


@kernel
def sleeps(lane):
    """Sleeps until somebody rings; False when something else has happened, or nothing for long."""
    if load_i64(lane, at.EPOLL) < 0:
        return False
    events, before = load_i64(lane, at.EVENTS), monotonic_ns()
    found = wait(load_i64(lane, at.EPOLL), events, at.MOST_EVENTS, load_i64(lane, at.TIMEOUT_MS))
    if found != 1 or load_i32(events, load_i64(lane, at.EVENT_DESCRIPTOR)) != load_i64(lane, at.BELL):
        return False
    now = monotonic_ns()
    store_i64(lane, at.SHORT, np.int64(now - before < load_i64(lane, at.LOOK_NS)))
    store_i64(lane, at.END, now + load_i64(lane, at.LISTEN_NS))
    return True


@kernel
def next_picture(lane):
    """What `take` gives for the next picture, in a change of the ledger that is open then. Before that, if it must be waited for or
    enough have come, those before are settled. Below 0 nothing is left to settle: NOTHING, RARE, FULL or LATE.
    """
    books = load_i64(lane, at.BOOKS)
    words, head, link = load_i64(books, of.BLOCK), load_i64(books, of.HEAD), load_i64(books, of.IN_LINK)
    while True:
        now, frames, space, found = monotonic_ns(), load_i64(lane, at.FRAMES), load_i64(lane, at.ROOM), np.int64(links.NOTHING)
        if frames == 0:
            if space <= 0:
                return np.int64(at.FULL)
            if now > load_i64(lane, at.END):
                return np.int64(at.LATE)
            store_i64(lane, at.SINCE, now)
        if frames < space and now - load_i64(lane, at.SINCE) < load_i64(lane, at.LONGEST_NS):
            found = take(link, head)
        if found >= 0:
            if frames == 0:
                open_change(words)
            store_i64(lane, at.FRAMES, frames + 1)
            return found
        if frames > 0:
            settle(books)
            close_change(words)
            store_i64(lane, at.FRAMES, 0)
            store_i64(lane, at.ROOM, min(room(books), load_i64(lane, at.MOST)))
            continue
        if found == links.RARE:
            return found
        if load_i64(lane, at.SHORT) != 0 and looks(lane, link):
            continue
        publish(load_i64(lane, at.BELL_WORD), 1, load_i64(lane, at.BELL_WORD))
        if observe(load_i64(link, links.OTHER_WORD)) == load_i64(link, links.COUNT) and not sleeps(lane):
            return np.int64(links.NOTHING)
