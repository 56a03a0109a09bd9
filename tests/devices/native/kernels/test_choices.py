import operator

import numpy as np
import pytest

COMPARISONS = {
    "less": operator.lt, "lessequal": operator.le, "greater": operator.gt, "greaterequal": operator.ge, "equal": operator.eq,
}  # fmt: skip


@pytest.mark.parametrize("kind", COMPARISONS)
@pytest.mark.parametrize("one", [False, True])
def test_comparisons(kit, rng, kind, one):
    a, b = rng.integers(-2, 3, (2, 37)).astype(np.float32)
    a[5] = np.nan
    b = b[:1] if one else b
    out = kit.run(f"compare_{kind}_f32", (20, 37), (0, 20), a=a, b=b, out=np.full(37, 9, np.uint8), stride_a=4, stride_b=0 if one else 4)
    np.testing.assert_array_equal(out, COMPARISONS[kind](a, b))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize("one", [False, True])
def test_choices(kit, rng, dtype, one):
    yes, no, condition = (
        rng.integers(0, 99, (1 if one else 23,)).astype(dtype),
        rng.integers(0, 99, 23).astype(dtype),
        rng.integers(0, 2, 23),
    )
    size = no.itemsize
    out = kit.run(
        f"where_{size}", (0, 3), (3, 23), condition=condition.astype(np.uint8), yes=yes, no=no, out=np.zeros(23, dtype),
        stride_condition=1, stride_yes=0 if one else size, stride_no=size,
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.where(condition, yes, no))
