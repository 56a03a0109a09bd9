"""What one native step writes into a ledger equals what the ledger's own functions say."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from devices import kernels
from devices.kernels import counts
from flow.ledger import LATENCY_BOUNDS, LATENCY_BUCKETS, latency_bucket

LAST_WORD = counts.LATENCIES + LATENCY_BUCKETS


def test_a_node_is_entered_and_left() -> None:
    functions = kernels.functions()
    words, places = np.zeros(12, np.int64), np.array([8, 9, 10, 11], np.int64)
    before = time.monotonic_ns()
    functions["ace_enter"](words.ctypes.data, 7, 2, 41)
    after = time.monotonic_ns()
    assert words[[counts.NODE, counts.STREAM, counts.SEQ]].tolist() == [7, 2, 41]
    assert before <= words[counts.SINCE] <= after
    functions["ace_leave"](words.ctypes.data, places.ctypes.data, 41, 3, -1)
    assert words[counts.NODE] == -1
    assert words[[8, 9, 11]].tolist() == [1, 3, 42]
    assert 0 <= words[10] <= time.monotonic_ns() - before


def test_one_node_is_left_for_the_next() -> None:
    functions = kernels.functions()
    words, places = np.zeros(12, np.int64), np.array([8, 9, 10, 11], np.int64)
    functions["ace_enter"](words.ctypes.data, 7, 2, 41)
    entered = int(words[counts.SINCE])
    functions["ace_leave"](words.ctypes.data, places.ctypes.data, 41, 1, 8)
    assert words[[counts.NODE, counts.STREAM, counts.SEQ]].tolist() == [8, 2, 41]
    assert words[counts.SINCE] - entered == words[10], "the time of the first ends where that of the next begins"


def test_a_frame_that_is_run_again_or_in_vain_is_no_run_more() -> None:
    functions = kernels.functions()
    words, places = np.zeros(12, np.int64), np.array([8, 9, 10, 11], np.int64)
    for seq in (0, 1, 1, 0, -1, 5):
        functions["ace_enter"](words.ctypes.data, 0, 0, max(seq, 0))
        functions["ace_leave"](words.ctypes.data, places.ctypes.data, seq, 1, -1)
    assert words[[8, 9, 11]].tolist() == [3, 6, 6]


@given(st.lists(st.tuples(st.integers(0, 1 << 44), st.integers(-5, 1 << 44)), min_size=1, max_size=8))
@example([(1000, 999), (1001, 1000)])
@example([(1, LATENCY_BOUNDS[-1] + 1), (2, LATENCY_BOUNDS[7]), (3, LATENCY_BOUNDS[7] - 1)])
def test_a_result_is_counted(results: list[tuple[int, int]]) -> None:
    """Results at (ms after the last, latency in ns): how many, the longest latency, the last time, the longest gap, the buckets."""
    order = np.random.default_rng(len(results)).permutation(LAST_WORD) + 20  # a counter may lie anywhere
    places = np.array([*order, *LATENCY_BOUNDS], np.int64)
    words = np.zeros(LAST_WORD + 20, np.int64)
    count = kernels.functions()["ace_result"]
    times = np.cumsum([1 + wait for wait, _ in results]).tolist()
    for seq, (now, (_, latency)) in enumerate(zip(times, results, strict=True)):
        count(words.ctypes.data, places.ctypes.data, seq, now, latency)
    found = words[order]
    assert found[counts.RESULTS] == found[counts.COMING] == len(results)
    assert found[counts.MOST] == max(0, *(latency for _, latency in results))
    assert found[counts.LAST] == times[-1]
    assert found[counts.GAP] == max((after - before for before, after in pairwise(times)), default=0)
    expected = np.bincount([latency_bucket(latency) for _, latency in results], minlength=LATENCY_BUCKETS)
    assert np.array_equal(found[counts.LATENCIES :], expected)
