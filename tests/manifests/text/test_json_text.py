from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import ManifestError, Problem
from manifests.text.json_text import compose
from manifests.text.node import MAX_DEPTH, MAX_NODES, expand

KEYS = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(st.characters(codec="utf-8")), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=30
)


def read(text: str) -> Any:
    problems: list[Problem] = []
    (root,) = compose(text, "f.json", problems)
    if problems:
        raise ManifestError(problems)
    return expand(root)[0]


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_reads_what_json_writes(value: Any, indent: int | str | None, ascii: bool) -> None:
    assert read(json.dumps(value, indent=indent, ensure_ascii=ascii)) == value


def test_positions() -> None:
    (root,) = compose('{\n\t"a": [1,\n  {"b": null}]}', "f.json", [])
    positions = expand(root)[1]
    found = {path: (position.line, position.column) for path, position in positions.items()}
    assert found == {"": (1, 1), "a": (2, 2), "a.0": (2, 8), "a.1": (3, 3), "a.1.b": (3, 4)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f.json:1:1: expected a JSON value, got the end of the file"),
        ("{} x", "f.json:1:4: expected the end of the file after one value, got `x`"),
        ('{"a" 1}', "expected `:` after the key"),
        ("{a: 1}", "expected a key in double quotes"),
        ('{"a": 1,}', "expected a key in double quotes"),
        ("[1 2]", "expected `,` or `]`, got `2`"),
        ("[1,]", "expected a JSON value, got `]`"),
        ('"a', "expected text in double quotes"),
        ('"\\x"', "expected text in double quotes"),
        ('"a\nb"', "expected text in double quotes"),
        ('"\\ud800"', "half a surrogate pair"),
        ("NaN", "expected a JSON value"),
        ("01", "expected the end of the file"),
        ("1e999", "expected a finite number"),
        ("1" * 100_000, "at most 64 bits"),
        ('{"a": 1, "a": 2}', "f.json:1:10: expected every key once, got `a` twice"),
        ('{"": 1}', "a key of 1 to 128"),
        ("[" * (MAX_DEPTH + 1), f"at most {MAX_DEPTH} levels"),
        ("[" * (1 << 20), f"at most {MAX_DEPTH} levels"),
        ('{"a":' * (1 << 18), f"at most {MAX_DEPTH} levels"),
        ("[" + "1," * MAX_NODES + "1]", f"at most {MAX_NODES:,} values"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert said in str(caught.value)


@given(st.text(alphabet='{}[],:"\\tfnu01.e- \n', max_size=40))
def test_agrees_with_json_on_what_is_json(text: str) -> None:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(ManifestError):
            read(text)
        return
    try:
        assert read(text) == expected
    except ManifestError as error:
        # Valid JSON, but not a valid manifest.
        assert any(word in str(error) for word in ("once", "1 to 128", "64 bits", "finite", "surrogate"))  # noqa: PT017
