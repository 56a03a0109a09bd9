from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.quantize.rounding import Partners, damped, descended, error_of, factor, nearest, rounded
from devices.quantize.weights import MOST, PAIR

NOTHING = np.zeros(0, np.int64)
SEEDS = st.integers(0, 2**32 - 1)


def second_order(exact: np.ndarray, gram: np.ndarray, partners: Partners) -> np.ndarray:
    return descended(rounded(exact, gram, factor(gram), partners), exact, gram, partners)


def problem(seed: int, groups: int, rows: int, columns: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights in steps, and the gram of inputs that go together."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, (groups, 3 * columns, columns)) @ random.normal(0, 1, (groups, columns, columns))
    return random.normal(0, size, (groups, rows, columns)), damped(np.swapaxes(x, 1, 2) @ x)


def neighbours(columns: int) -> list[np.ndarray]:
    return [np.array([at ^ 1]) if at ^ 1 < columns else NOTHING for at in range(columns)]


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, groups=st.integers(1, 3), columns=st.integers(1, 80), size=st.floats(0.1, 200), pairs=st.booleans())
def test_no_row_has_a_larger_error_than_the_nearest_integers(seed: int, groups: int, columns: int, size: float, pairs: bool) -> None:
    exact, gram = problem(seed, groups, 4, columns, size)
    partners = neighbours(columns) if pairs else [NOTHING] * columns
    plain, found = nearest(exact, partners), second_order(exact, gram, partners)
    assert (error_of(found, exact, gram) <= error_of(plain, exact, gram) * (1 + 1e-9)).all()
    assert np.abs(found).max() <= MOST


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, columns=st.integers(1, 40), size=st.floats(1, 300))
def test_pairs_keep_to_their_limits(seed: int, columns: int, size: float) -> None:
    exact, gram = problem(seed, 1, 6, columns, size)
    for found in (nearest(exact, neighbours(columns)), second_order(exact, gram, neighbours(columns))):
        pairs = found[..., : columns - columns % 2].reshape(-1, 2)
        assert np.maximum(pairs, 0).sum(1).max(initial=0) <= PAIR
        assert np.maximum(-pairs, 0).sum(1).max(initial=0) <= PAIR


def test_a_small_problem_is_solved_nearly_as_well_as_by_trying_everything() -> None:
    ratios = []
    for seed in range(20):
        exact, gram = problem(seed, 1, 1, 5, 3.0)
        every = np.array(list(itertools.product((-1, 0, 1, 2), repeat=5)))[None] + np.floor(exact)
        least = error_of(every, np.broadcast_to(exact, every.shape), gram).min()
        found = second_order(exact, gram, [NOTHING] * 5)
        plain = error_of(nearest(exact, [NOTHING] * 5), exact, gram)[0, 0]
        ratios.append((error_of(found, exact, gram)[0, 0] / least, plain / least))
    found, plain = np.median(np.array(ratios), axis=0)
    assert found < 1.5 < plain


def test_integers_stay() -> None:
    exact, gram = problem(0, 2, 3, 70, 40.0)
    exact = np.clip(np.rint(exact), -MOST, MOST)
    assert np.array_equal(second_order(exact, gram, [NOTHING] * 70), exact)
