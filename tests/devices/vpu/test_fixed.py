from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.vpu.fixed import ADD_BITS, BITS, MOST_ADD_SHIFT, MOST_SHIFT, RangeError, factor, factors


@given(st.floats(1e-9, 1e6))
def test_a_factor_is_near(real: float) -> None:
    multiplier, shift = factor(real)
    assert 0 <= multiplier < 2**BITS
    assert 1 <= shift <= MOST_SHIFT
    assert abs(multiplier / 2**shift - real) <= max(real * 2.0**-30, 2.0**-MOST_SHIFT)


@given(st.floats(1e-4, 250), st.floats(1e-4, 250), st.integers(-255, 255), st.integers(-255, 255))
def test_sums_of_two_fit_32_bits(first: float, second: float, a: int, b: int) -> None:
    one, two, shift = factors(first, second)
    assert max(one, two) < 2**ADD_BITS
    assert 1 <= shift <= MOST_ADD_SHIFT
    total = a * one + b * two + 2 ** (shift - 1)
    assert -(2**31) <= total < 2**31
    assert abs(total / 2**shift - 0.5 - (a * first + b * second)) < 0.01 + 255 * 2 * max(first, second) * 2.0 ** -(ADD_BITS - 1)


@pytest.mark.parametrize("real", [-1.0, math.nan, math.inf, 2.0**31])
def test_factors_that_no_machine_has(real: float) -> None:
    with pytest.raises(RangeError, match="expected a factor"):
        factor(real)


def test_nothing_is_a_factor() -> None:
    assert factor(0.0) == (0, 31)
    assert factor(1e-300)[0] == 0
