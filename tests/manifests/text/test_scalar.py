from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.text.scalar import ScalarError, is_text, resolve


@pytest.mark.parametrize(
    "text", ["yes", "no", "on", "off", "y", "2024-01-01", "12:30", "1_000", "1.2.3", "tRue", "0x", "-", "+-1", "e3", "1e", "١"]
)
def test_stays_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None), ("null", None), ("true", True), ("FALSE", False), ("0", 0), ("-0", 0), ("+7", 7), ("0x1F", 31), ("0o17", 15),
        ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-1.5E-2", -0.015), ("0.0", 0.0),
        (str(2**64 - 1), 2**64 - 1),
        (str(-(2**63)), -(2**63)),
    ],
)  # fmt: skip
def test_core_schema(text: str, value: object) -> None:
    result = resolve(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    "text", ["0777", "-01", ".nan", ".inf", "-.INF", "1e999", "9" * 100_000, str(2**64), "0x" + "f" * 17, "9" * 400 + ".0"]
)
def test_refused(text: str) -> None:
    with pytest.raises(ScalarError):
        resolve(text)
    assert not is_text(text)


@given(st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_reads_every_json_number(number: float) -> None:
    value = resolve(json.dumps(number))
    assert value == number
    assert type(value) is type(number)
    assert math.copysign(1, value) == math.copysign(1, number)  # type: ignore[arg-type]


@given(st.text(alphabet="+-.0123456789eExo_abfinINFnull~tru", max_size=12))
def test_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(ScalarError):
        value = resolve(text)
        assert not isinstance(value, float) or math.isfinite(value)
