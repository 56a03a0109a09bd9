from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import snapshot

PAIR = np.dtype([("id", "<i4"), ("at", "<f8", (2,))])
DTYPES = {"clock": "<i8", "pairs": PAIR}


def state(numbers: list[int], pairs: list[tuple[int, tuple[float, float]]]) -> bytes:
    return snapshot.pack("track.x", 2, {"clock": np.array(numbers, "<i8"), "pairs": np.array(pairs, PAIR)})


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.tuples(st.integers(0, 9), st.tuples(st.floats(width=32), st.floats(width=32))))
)
def test_what_was_packed_comes_back(numbers: list[int], pairs: list[tuple[int, tuple[float, float]]]) -> None:
    packed = state(numbers, pairs)
    arrays = snapshot.unpack("track.x", 2, DTYPES, packed)
    assert arrays["clock"].tolist() == numbers
    assert arrays["pairs"].tobytes() == np.array(pairs, PAIR).tobytes()
    assert all(array.flags.writeable for array in arrays.values())


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    packed = bytearray(state([1, 2], [(3, (4.0, 5.0))]))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"state of track\.x"):
        snapshot.unpack("track.x", 2, DTYPES, bytes(packed))


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r"state of track\.x"):
        snapshot.unpack("track.x", 2, DTYPES, junk)


@pytest.mark.parametrize(("op", "version", "dtypes"), [("track.y", 2, DTYPES), ("track.x", 3, DTYPES), ("track.x", 2, {"clock": "<i8"})])
def test_another_owner_is_refused(op: str, version: int, dtypes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"expected version {version} of {op}"):
        snapshot.unpack(op, version, dtypes, state([1], []))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="bytes of arrays"):
        snapshot.unpack("track.x", 2, {"clock": "<i4", "pairs": PAIR}, state([1], [(3, (4.0, 5.0))]))
