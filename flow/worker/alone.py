"""A worker with but one chain: frames on its common path, and the worker's sleep between them, in few steps.

What is left to do when frames wait is done before the worker sleeps: who wakes up takes a picture first.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from devices.kernels.links import NOTHING, REST
from flow.link.bell import Bell, Rest
from flow.worker.pictures import PicturesIn
from flow.worker.straight import Straight
from flow.worker.waiter import LOOK_NS, Patience

LISTEN_NS = 20_000_000
"""After so long without a sleep the worker must look at everything else."""


def run_alone(straight: Straight, bell: Bell, sleep: Callable[[], bool]) -> bool:
    """Passes frames on as they come, settled, until something else happens, or for a while; whether any came. Raises SourceError.

    `sleep` waits for the bell, and says whether that alone has rung.
    """
    if straight.waiting is not None:
        return _read(straight)
    if straight.pictures is None or straight.run() is None or not straight.active:
        return False
    straight.frames = 0
    words = straight.pictures.words
    words[REST] = bell.word
    try:
        return _take(straight, straight.pictures, bell, sleep)
    finally:
        bell.rise()
        words[REST] = 0


def _read(straight: Straight) -> bool:
    """Frames of a source that waits until it is asked."""
    end = monotonic_ns() + LISTEN_NS
    any_came = False
    while straight.run() and not straight.chain.blocked and monotonic_ns() < end:
        any_came = True
    return any_came


def _take(straight: Straight, pictures: PicturesIn, bell: Bell, sleep: Callable[[], bool]) -> bool:
    """Pictures from the worker's only edge."""
    chain, ledger, limited, patience = straight.chain, straight.block.words, straight.limited, Patience()
    take, one, settle, stirs = pictures.take_entry, straight.picture_pass, straight.settle_now, pictures.stirs
    any_came = False
    end = monotonic_ns() + LISTEN_NS
    room = settle(opens=True)
    while room > 0 and not chain.stopped and not chain.settling:
        found = take()
        if found >= 0:
            if not straight.frames:
                ledger[0] += 1  # the ledger's change begins
            any_came = True
            one(found)
            if not (limited or straight.frames >= room):
                continue
        if straight.frames:
            room = settle()
            if found >= 0:
                if monotonic_ns() > end:
                    break
                continue
        if found != NOTHING:
            break
        if patience.short and patience.looks(stirs):
            continue
        bell.rest(Rest.FOR_ENTRIES)
        if stirs():
            continue
        now = monotonic_ns()
        if not sleep():
            break
        woken = monotonic_ns()
        patience.short = woken - now < LOOK_NS
        end = woken + LISTEN_NS
    if straight.frames:
        settle()
    return any_came
