"""Real factors as whole numbers: (multiplier, shift) that stand for multiplier / 2^shift.

requantized = clamp(((sum * multiplier + 2^(shift - 1)) >> shift) + zero, low, high): the 32 x 32 bit product is kept whole (int64) and
rounded once, halves up, as TensorFlow Lite does where it is built with single rounding and as CMSIS-NN can. gemmlowp's doubling high
multiply rounds twice, which differs in the last bit of some sums.
"""

from __future__ import annotations

from math import frexp, isfinite

BITS = 31
MOST_SHIFT = 62
ADD_BITS = 21
"""Bits of the multipliers of a sum of two values: (a - zero_a) * ma + (b - zero_b) * mb + 2^(shift - 1) stays below 2^31."""
MOST_ADD_SHIFT = 30


class RangeError(ValueError):
    """A factor that no multiplier and shift stand for."""


def factor(real: float) -> tuple[int, int]:
    """The multiplier (below 2^31) and the shift (1 to 62) nearest to a real factor from 0 up to 2^30. Raises RangeError."""
    return _scaled(real, real, BITS, MOST_SHIFT)


def factors(first: float, second: float) -> tuple[int, int, int]:
    """Two multipliers with one shift (1 to 30), for sums in int32. Raises RangeError."""
    largest = max(first, second)
    one, shift = _scaled(first, largest, ADD_BITS, MOST_ADD_SHIFT)
    return one, _scaled(second, largest, ADD_BITS, MOST_ADD_SHIFT)[0], shift


def _scaled(real: float, largest: float, bits: int, most_shift: int) -> tuple[int, int]:
    """`real` with the shift that uses all bits for `largest`."""
    shift = min(bits - frexp(largest)[1], most_shift)
    if not (isfinite(largest) and 0 <= real <= largest) or shift < 1:
        raise RangeError(f"expected a factor from 0 to 2^{bits - 1}, got {real}")
    return min(round(real * 2.0**shift), 2**bits - 1), shift
