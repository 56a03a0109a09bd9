from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ops.track.assignment import assign


@given(st.data())
def test_no_other_pairing_costs_less(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    limit = 0.7
    cost = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n * m, max_size=n * m))).reshape(n, m)
    rows, columns = assign(cost, limit)
    assert len(set(rows)) == len(rows) == len(set(columns)) == len(columns)
    assert (cost[rows, columns] <= limit).all()

    def total(pairs: list[tuple[int, int]]) -> float:
        """What is left alone costs half the limit a side, so a pair is worth making when it costs less than the limit."""
        return sum(cost[pair] for pair in pairs) + limit / 2 * (n + m - 2 * len(pairs))

    columns_or_none = [*range(m), *[-1] * n]
    best = min((total([(r, c) for r, c in enumerate(p) if c >= 0]) for p in set(permutations(columns_or_none, n))), default=0)
    assert total(list(zip(rows, columns, strict=True))) <= best + 1e-9


def test_nothing_to_assign() -> None:
    rows, columns = assign(np.empty((0, 3)), 1.0)
    assert len(rows) == len(columns) == 0
