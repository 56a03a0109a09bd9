from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import ImageSpec
from flow.plan.canonical import digest, encode

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.frozensets(SCALARS), max_leaves=12)


def tagged(value: Any) -> Any:
    """The value with its types, so that Python's own equality tells 1 from True and from 1.0."""
    match value:
        case dict():
            return "map", frozenset((tagged(key), tagged(item)) for key, item in value.items())
        case list() | tuple():
            return "list", tuple(map(tagged, value))
        case frozenset():
            return "set", frozenset(map(tagged, value))
        case _:
            return type(value).__name__, value


@given(VALUES, VALUES)
def test_equal_bytes_mean_equal_values(one: Any, other: Any) -> None:
    assert (encode(one) == encode(other)) == (tagged(one) == tagged(other))


@given(VALUES)
def test_a_value_has_one_encoding(value: Any) -> None:
    assert encode(value) == encode(value)
    assert digest(value) == digest(value)


@given(st.dictionaries(st.text(), SCALARS, min_size=2), st.randoms())
def test_mappings_have_no_order(mapping: dict[str, Any], random: Any) -> None:
    pairs = list(mapping.items())
    random.shuffle(pairs)
    assert encode(dict(pairs)) == encode(mapping)


@given(st.lists(SCALARS, min_size=1))
def test_what_stands_beside_does_not_run_together(items: list[Any]) -> None:
    assert encode([items]) != encode(items)
    assert encode([*items, items[0]]) != encode(items)
    assert encode([items, items]) != encode([items + items])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        (1, "1"),
        (None, "None"),
        (None, False),
        ("a", b"a"),
        ([], {}),
        (frozenset(), []),
        ({}, None),
        ("", []),
    ],
)
def test_types_are_told_apart(one: Any, other: Any) -> None:
    assert encode(one) != encode(other)


def test_minus_zero_is_zero() -> None:
    assert encode(-0.0) == encode(0.0)
    assert encode([{"a": -0.0}]) == encode([{"a": 0.0}])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        encode({"score": [value]})


def test_lists_and_tuples_are_one_thing() -> None:
    assert encode((1, 2)) == encode([1, 2])


def test_enumerations_and_paths_count_by_value() -> None:
    class Mode(Enum):
        FAST = "fast"

    assert encode(Mode.FAST) == encode("fast")
    assert encode(PurePosixPath("a/b")) == encode("a/b")


def test_dataclasses_count_with_name_and_fields() -> None:
    @dataclass
    class Other:
        width: int

    assert encode(ImageSpec(2, 2, "gray8")) == encode(ImageSpec(2, 2, "gray8"))
    assert encode(ImageSpec(2, 2, "gray8")) != encode(ImageSpec(2, 3, "gray8"))
    assert encode(Other(1)) != encode({"width": 1})


def test_what_has_no_encoding_is_refused() -> None:
    with pytest.raises(TypeError, match="got object"):
        encode(object())
