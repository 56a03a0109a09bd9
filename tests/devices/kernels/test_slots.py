"""Free slots as the native step finds them equal those that a look at every row finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import kernels
from devices.kernels import slots as at


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.data())
def test_the_first_slot_that_no_row_holds_is_taken(slots: int, rows: int, data: st.DataObject) -> None:
    width = 16
    table = np.zeros((1 + rows, width), np.uint32)
    held = data.draw(st.lists(st.tuples(st.integers(1, rows), st.integers(0, slots - 1)), max_size=2 * slots))
    for row, slot in held:
        table[row, slot] += 1
    table[0, :slots] = data.draw(st.lists(st.sampled_from([0, 7, 0xFFFFFFFF]), min_size=slots, max_size=slots))
    words = np.zeros(at.WORDS, np.int64)
    words[at.GENERATIONS], words[at.HOLDS] = table.ctypes.data, table[1:].ctypes.data
    words[at.SLOTS], words[at.ROWS], words[at.WIDTH] = slots, rows, width
    functions = kernels.functions()
    while True:
        before = table.copy()
        expected = next((slot for slot in range(slots) if not before[1:, slot].any()), at.NONE)
        assert functions["ace_free"](words.ctypes.data) == expected
        assert np.array_equal(table, before), "asking changes nothing"
        assert functions["ace_acquire"](words.ctypes.data) == expected
        if expected == at.NONE:
            assert np.array_equal(table, before)
            return
        before[0, expected] = int(before[0, expected]) + 1 & 0xFFFFFFFF
        before[1, expected] = 1
        assert np.array_equal(table, before), "one generation more, one hold of the owner"
