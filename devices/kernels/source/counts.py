# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""What a worker writes into its block of the ledger with every frame: what it is at, and what came of it."""

from __future__ import annotations

import numpy as np

from devices.kernels import counts as at
from devices.kernels.source.memory import load_i64, store_i64
from devices.kernels.source.rows import kernel
from devices.kernels.source.system import monotonic_ns


@kernel
def enter(words, node, stream, seq):
    """The worker begins to run a node on a frame."""
    store_i64(words, at.NODE, node)
    store_i64(words, at.STREAM, stream)
    store_i64(words, at.SEQ, seq)
    store_i64(words, at.SINCE, monotonic_ns())
    return np.int64(0)


@kernel
def leave(words, places, seq, calls, then):
    """It has run it, on frame `seq` (-1: in vain): `places` are the words that count runs, calls and the ns they took, and the word of the
    frame that is to come: one that has run before is not counted again. It begins to run the node `then` on it (-1: none).
    """
    store_i64(words, at.NODE, then)
    now = monotonic_ns()
    busy = now - load_i64(words, at.SINCE)
    store_i64(words, at.SINCE, now)
    runs, coming = np.int64(0), load_i64(places, 3)
    if seq >= load_i64(words, coming):
        runs = np.int64(1)
        store_i64(words, coming, seq + 1)
    for place, amount in ((0, runs), (1, calls), (2, busy)):
        word = load_i64(places, place)
        store_i64(words, word, load_i64(words, word) + amount)
    return np.int64(0)


@kernel
def result(words, places, seq, now, latency):
    """The result of frame `seq` was written: `places` are the words for results, the longest latency, the last time, the longest gap, the
    frame that is to come, and for each bucket of latencies; then the buckets' bounds in ns, of which latencies are below.
    """
    store_i64(words, load_i64(places, at.COMING), seq + 1)
    last = load_i64(words, load_i64(places, at.LAST))
    gap = load_i64(places, at.GAP)
    if last != 0 and now - last > load_i64(words, gap):
        store_i64(words, gap, now - last)
    store_i64(words, load_i64(places, at.LAST), now)
    most = load_i64(places, at.MOST)
    if latency > load_i64(words, most):
        store_i64(words, most, latency)
    low, high = np.int64(0), np.int64(at.BUCKETS - 1)
    while low < high:
        middle = (low + high) >> 1
        if latency < load_i64(places, at.BOUNDS + middle):
            high = middle
        else:
            low = middle + 1
    bucket = load_i64(places, at.LATENCIES + low)
    store_i64(words, bucket, load_i64(words, bucket) + 1)
    results = load_i64(places, at.RESULTS)
    store_i64(words, results, load_i64(words, results) + 1)
    return np.int64(0)
