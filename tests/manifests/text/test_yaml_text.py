from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import ManifestError, Problem
from manifests.text.node import MAX_ALIASES, MAX_DEPTH, MAX_NODES, expand
from manifests.text.yaml_text import compose


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of PyYAML's parsers: wheels bring libyaml, source builds may lack it."""
    if request.param == "python":
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML was built without libyaml")


def read(text: str) -> list[Any]:
    """Plain values of all documents. Raises ManifestError."""
    problems: list[Problem] = []
    values = [expand(root)[0] for root in compose(text, "f.yaml", problems)]
    if problems:
        raise ManifestError(problems)
    return values


def refused(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        read(text)
    return str(caught.value)


def test_documents_and_positions() -> None:
    text = "a: 1\nb:\n  - x\n  - {c: [true]}\n---\n# nothing here\n---\nd: é\n"
    first, second = compose(text, "f.yaml", [])
    value, positions = expand(first)
    assert value == {"a": 1, "b": ["x", {"c": [True]}]}
    found = {path: (position.line, position.column) for path, position in positions.items()}
    assert found == {"": (1, 1), "a": (1, 1), "b": (2, 1), "b.0": (3, 5), "b.1": (4, 5), "b.1.c": (4, 6), "b.1.c.0": (4, 10)}
    assert expand(second)[1]["d"].line == 8


def test_keys_are_text() -> None:
    assert read("yes: 1\n2: 2\ntrue: 3\n3.0: 4\n'null': 5") == [{"yes": 1, "2": 2, "true": 3, "3.0": 4, "null": 5}]


def test_quoted_is_text() -> None:
    assert read("['1', \"true\", '', \"~\"]") == [["1", "true", "", "~"]]
    assert read("a: |\n  1\nb: >\n  2\n") == [{"a": "1\n", "b": "2\n"}]


def test_aliases_expand_to_their_own_values() -> None:
    ((value),) = read("a: &x {p: [1]}\nb: *x\nc: [*x, *x]")
    assert value == {"a": {"p": [1]}, "b": {"p": [1]}, "c": [{"p": [1]}, {"p": [1]}]}
    value["b"]["p"].append(2)
    assert value["a"] == {"p": [1]}


def test_alias_stands_where_its_anchor_does() -> None:
    (root,) = compose("a: &x {p: 1}\nb: *x", "f.yaml", [])
    positions = expand(root)[1]
    assert (positions["b"].line, positions["b.p"].line) == (2, 1)


def test_anchors_end_with_their_document() -> None:
    assert "f.yaml:3:4: expected an anchor &x before this alias, got `*x`" in refused("a: &x 1\n---\nb: *x")


def test_duplicate_keys() -> None:
    assert refused("a: 1\nb: 2\na: 3") == "f.yaml:3:1: expected every key once, got `a` twice - it stands on line 1 already"


def test_all_duplicates_are_told() -> None:
    assert len(refused("a: {b: 1, b: 2}\na: {c: 1, c: 2}").splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system [id]", "without a tag"),
        ("a: !!str 1", "without a tag"),
        ("a: ! 1", "without a tag"),
        ("!!binary aGk=: 1", "without tag or anchor"),
        ("&k a: 1", "without tag or anchor"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "no merge keys"),
        ("? [a, b]\n: 1", "a key that is plain text"),
        ("? {a: b}\n: 1", "a key that is plain text"),
        ("a: &x 1\n*x : 2", "a key that is plain text"),
        ('"": 1', "a key of 1 to 128 characters"),
        (f"{'k' * 129}: 1", "a key of 1 to 128 characters"),
        ("a: &x [*x]", "inside what it stands for"),
        ("&x a: *y", "an anchor &y"),
        ("a: .nan", "a finite number"),
        ("a: -.inf", "a finite number"),
        ("a: " + "7" * 100_000, "at most 64 bits"),
        ("a: 0123", "leading zeros"),
        ('a: "\\ud800"', "expected"),
        ("a: [1", "well-formed YAML"),
        ("a: b: c", "in quotes"),
        ("a:\n\tb: 1", "indent with spaces"),
        ("a: b\n\tc: 1", "indent with spaces"),
        ("a: @x", "put the text in quotes"),
        ("a: 'x", "well-formed YAML"),
        ("%YAML 9.0\n---\na: 1", "well-formed YAML"),
        ("%FOO\n a", "well-formed YAML"),
        ("a: *", "well-formed YAML"),
        ("- a\nb", "well-formed YAML"),
    ],
)
def test_refused(text: str, said: str) -> None:
    message = refused(text)
    assert said in message
    assert message.startswith("f.yaml:")
    assert len(message) < 400


def test_quoted_merge_key_is_a_key() -> None:
    assert read("'<<': 1") == [{"<<": 1}]


def test_billion_laughs() -> None:
    text = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    assert f"at most {MAX_NODES:,} values" in refused(text)


def test_long_text_repeated() -> None:
    text = f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 900)}]"
    assert f"at most {MAX_NODES:,} values" in refused(text)


def test_deep_through_aliases() -> None:
    text = "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(MAX_DEPTH))
    assert f"at most {MAX_DEPTH} levels" in refused(text)


def test_many_aliases() -> None:
    assert f"at most {MAX_ALIASES:,} anchors and aliases" in refused(f"a: &a 1\nb: [{', '.join(['*a'] * MAX_ALIASES)}]")


def test_long_keys_on_the_way_to_many_values() -> None:
    text = "".join(" " * i + "k" * 128 + ":\n" for i in range(MAX_DEPTH - 2)) + " " * 40 + f"[{', '.join(['1'] * 10_000)}]"
    assert "characters of keys" in refused(text)


def test_depth_is_exact() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert f"at most {MAX_DEPTH} levels" in refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize("piece", ["[", "{", "{a: ", "- ", "? ", "a:\n ", "&a ", "!a ", "'", '"', "|\n", "--- ", "*a ", "\n", "[]"])
def test_one_mebibyte_of(piece: str) -> None:
    text = piece * ((1 << 16) // len(piece) if not yaml.__with_libyaml__ else (1 << 20) // len(piece))
    with contextlib.suppress(ManifestError):
        assert isinstance(read(text), list)


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=60)
    | st.text(alphabet="{}[],:-?&*!|>'\"%@` \nab1#<", max_size=40)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ManifestError):
        json.dumps(read(text), allow_nan=False)
