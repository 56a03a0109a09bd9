from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.versions import Range, Version, split_selector

NUMBERS = st.integers(0, 3)
IDENTIFIERS = st.sampled_from(["0", "1", "10", "alpha", "beta", "rc-1", "1a"])
VERSIONS = st.builds(Version, NUMBERS, NUMBERS, NUMBERS, st.lists(IDENTIFIERS, max_size=3).map(tuple))
RELEASES = st.builds(Version, NUMBERS, NUMBERS, NUMBERS)


def test_order_of_the_specification() -> None:
    words = """1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 2.0.0 2.1.0 2.1.1"""
    versions = [Version.parse(word) for word in words.split()]
    backwards = versions[::-1]
    assert sorted(backwards) == versions


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "01.2.3",
        "1.2.3.4",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-a..b",
        "1.2.3+build",
        " 1.2.3",
        "1.2.3\n",
        "v1.2.3",
        "1.٢.3",
        "9999999999.0.0",
    ],
)
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="expected a version"):
        Version.parse(text)


@given(VERSIONS)
def test_written_and_read(version: Version) -> None:
    assert Version.parse(str(version)) == version


@given(VERSIONS, VERSIONS, VERSIONS)
def test_total_order(a: Version, b: Version, c: Version) -> None:
    assert (a < b) + (a == b) + (a > b) == 1
    assert not (a <= b <= c) or a <= c


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("*", "0.0.0 1.2.3", "1.0.0-rc"),
        ("1", "1.0.0 1.9.9", "0.9.9 2.0.0 1.0.0-rc"),
        ("1.2", "1.2.0 1.2.9", "1.1.9 1.3.0"),
        ("1.x", "1.0.0 1.9.9", "2.0.0"),
        ("1.2.*", "1.2.5", "1.3.0"),
        ("1.2.3", "1.2.3", "1.2.4 1.2.3-rc"),
        ("=1.2.3", "1.2.3", "1.2.2"),
        ("1.2.3-rc", "1.2.3-rc", "1.2.3 1.2.3-rc.0 1.2.3-rc.1"),
        ("^1", "1.0.0 1.9.9", "2.0.0 2.0.0-rc 0.9.9"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^0.2", "0.2.0 0.2.9", "0.3.0 0.1.9"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.11 1.2.3 1.4.0", "1.2.3-beta.1 1.2.4-beta.2 2.0.0-alpha"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        (">=1.0,<2", "1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-rc"),
        (">= 1.0 , < 2", "1.0.0", "2.0.0"),
        (">=1.0 <2", "1.0.0", "2.0.0"),
        (">1", "2.0.0", "1.0.0 1.9.9"),
        (">1.2", "1.3.0", "1.2.9"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2", "1.2.9 0.0.0", "1.3.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("<1.2.3", "1.2.2", "1.2.3"),
        (">=2,<1", "", "0.0.0 1.0.0 1.5.0 2.0.0"),
        (">*", "", "0.0.0 1.0.0"),
        ("<*", "", "0.0.0 1.0.0"),
        ("^1 || ^3", "1.5.0 3.0.0", "2.0.0"),
    ],
)
def test_ranges(text: str, inside: str, outside: str) -> None:
    wanted = Range.parse(text)
    assert [word for word in inside.split() if Version.parse(word) not in wanted] == []
    assert [word for word in outside.split() if Version.parse(word) in wanted] == []


@pytest.mark.parametrize(
    "text", ["", " ", "^^1", "^", "1,", ",1", "1.2.3.4", "a", "1-a", "*.1", "1.x.2", "||", "1||", ">=1<2x", "01", "1.2.3-01", "=>1", "١"]
)
def test_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Range.parse(text)


@given(VERSIONS, RELEASES)
def test_laws_of_ranges(version: Version, other: Version) -> None:
    for operator in ("", "=", "^", "~", ">=", "<="):
        assert version in Range.parse(f"{operator}{version}")
    for operator in ("<", ">"):
        assert version not in Range.parse(f"{operator}{version}")
    assert (other in Range.parse(f">={version}")) == (other >= version)
    assert (other in Range.parse(f">{version}")) == (other > version)
    assert (other in Range.parse(f"<{version}")) == (other < version)
    assert (other in Range.parse(f"<={version}")) == (other <= version)
    assert (other in Range.parse(f"^{version}")) <= (other.major == version.major)
    assert (other in Range.parse(f"~{version}")) <= (other in Range.parse(f">={version},{version.major}.{version.minor}"))


@given(st.lists(VERSIONS, max_size=8), st.sampled_from(["*", "^1", "~1.2", ">=1.0,<2", "2.1.0", "1", "^1 || ^3", "<2.0.0-rc-1"]))
def test_chooses_the_highest(versions: list[Version], text: str) -> None:
    wanted = Range.parse(text)
    matching = [version for version in versions if version in wanted]
    chosen = wanted.choose(versions)
    assert chosen == (max(matching) if matching else None)


@given(st.text(alphabet="0123.^~<>=|, x*-a", max_size=20))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        Range.parse(text)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017


def test_selector() -> None:
    name, wanted = split_selector("yolox-nano@^1")
    assert (name, str(wanted)) == ("yolox-nano", "^1")
    assert Version(7) in split_selector("yolox-nano")[1]
