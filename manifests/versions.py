"""Semantic versions (https://semver.org, without build data) and ranges of them.

A range is made of comparators that must all hold (separated by commas or blanks), or of several such sets separated by `||`:

    1.2.3, =1.2.3   exactly that version          ^1.2    1.2.0 up to, not including, 2.0.0 (^0.2: up to 0.3.0, ^0.0.3: 0.0.4)
    1, 1.2, 1.x     any 1, any 1.2                ~1.2    1.2.0 up to, not including, 1.3.0 (~1: up to 2.0.0)
    *               any version                   >=1.0,<2    both

A pre-release is taken only by a set that names a pre-release of the same major.minor.patch, as npm does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Any

NUMBER = r"(?:0|[1-9][0-9]{0,8})"
IDENTIFIER = r"(?:[0-9]*[A-Za-z-][0-9A-Za-z-]*|0|[1-9][0-9]*)"
PRE = rf"{IDENTIFIER}(?:\.{IDENTIFIER})*"
VERSION = rf"{NUMBER}\.{NUMBER}\.{NUMBER}(?:-{PRE})?"

FULL = re.compile(rf"({NUMBER})\.({NUMBER})\.({NUMBER})(?:-({PRE}))?")
PART = rf"{NUMBER}|[xX*]"
COMPARATOR = re.compile(rf"(\^|~|>=|<=|>|<|=)?\s*({PART})(?:\.({PART}))?(?:\.({PART}))?(?:-({PRE}))?")
SEPARATOR = re.compile(r"\s*,\s*|\s+")
Key = tuple[Any, ...]


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """One version; ordered by precedence."""

    major: int
    minor: int = 0
    patch: int = 0
    pre: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises ValueError for text that is no semantic version."""
        match = FULL.fullmatch(text)
        if not match:
            raise ValueError(f"expected a version such as 1.2.0, got {text!r}")
        return cls(int(match[1]), int(match[2]), int(match[3]), tuple(match[4].split(".")) if match[4] else ())

    @property
    def core(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    @property
    def key(self) -> Key:
        """Orders as semver 2.0.0, section 11: numbers before words, a pre-release before its release."""
        return (self.core, not self.pre, tuple((0, number(item), "") if item.isdigit() else (1, (0, ""), item) for item in self.pre))

    def __lt__(self, other: Version) -> bool:
        return bool(self.key < other.key)

    def __str__(self) -> str:
        return ".".join(map(str, self.core)) + ("-" + ".".join(self.pre) if self.pre else "")


def number(digits: str) -> tuple[int, str]:
    """Digits without leading zeros, ordered by value without making a number of them."""
    return len(digits), digits


@dataclass(frozen=True, slots=True)
class Span:
    """Versions from `low` up to, not including, `high` (None: no end). `named`: pre-releases that were written out."""

    low: Version
    high: Version | None
    named: tuple[Version, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """A set of versions."""

    text: str
    alternatives: tuple[Span, ...] = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Range:
        """Raises ValueError for text that is no range."""
        return cls(text, tuple(intersection(part.strip(), text) for part in text.split("||")))

    def __contains__(self, version: Version) -> bool:
        return any(inside(version, span) for span in self.alternatives)

    def __str__(self) -> str:
        return self.text

    def choose(self, versions: Iterable[Version]) -> Version | None:
        """The highest of these versions that is in the range, or None."""
        return max((version for version in versions if version in self), default=None)


def inside(version: Version, span: Span) -> bool:
    """Between the ends, and no pre-release that was not named."""
    if version < span.low or (span.high is not None and version >= span.high):
        return False
    return not version.pre or any(named.core == version.core for named in span.named)


def intersection(part: str, text: str) -> Span:
    """Where all comparators of one set hold."""
    spans = []
    at = 0
    while True:
        match = COMPARATOR.match(part, at)
        if not match:
            raise ValueError(f"expected a version range such as ^1, ~1.2, >=1.0,<2 or 1.2.3, got {text!r}")
        spans.append(comparator(match, text))
        if match.end() == len(part):
            break
        gap = SEPARATOR.match(part, match.end())
        if not gap:
            raise ValueError(f"expected a comma or blank after {match[0]!r}, got {text!r}")
        at = gap.end()
    ends = [span.high for span in spans if span.high is not None]
    return Span(max(span.low for span in spans), min(ends, default=None), tuple(name for span in spans for name in span.named))


def comparator(match: re.Match[str], text: str) -> Span:
    """One comparator as a span."""
    operator, *parts, pre = match.groups()
    numbers: list[int] = []
    for part in parts:
        if part is None or not part.isdigit():
            break
        numbers.append(int(part))
    if any(part is not None and part.isdigit() for part in parts[len(numbers) :]) or (pre and len(numbers) < 3):
        raise ValueError(f"expected all three numbers before what follows them, got {text!r}")
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    low = Version(major, minor, patch, tuple(pre.split(".")) if pre else ())
    span = BOUNDS[operator or "="](low, len(numbers))
    return Span(span.low, span.high, (low,)) if pre else span


def above(low: Version, given: int) -> Version | None:
    """The first version behind all that begin with the `given` numbers of `low`; None when none is given."""
    if given == 0:
        return None
    return bump(low, given - 1)


def bump(low: Version, place: int) -> Version:
    """The next release at this place (0: major)."""
    major, minor, patch = [*low.core[:place], low.core[place] + 1, 0, 0][:3]
    return Version(major, minor, patch)


def after(low: Version) -> Version:
    """The first version behind this one: a pre-release of its successor."""
    return Version(*low.core, (*low.pre, "0")) if low.pre else Version(low.major, low.minor, low.patch + 1, ("0",))


ZERO = Version(0, 0, 0, ("0",))


def equal(low: Version, given: int) -> Span:
    """This version, or those that begin with the numbers given."""
    return Span(low, after(low)) if given == 3 else Span(low, above(low, given))


def caret(low: Version, given: int) -> Span:
    """Up to the next change of the first number that is not zero."""
    if given == 0:
        return Span(low, None)
    place = next((place for place, value in enumerate(low.core[:given]) if value), given - 1)
    return Span(low, bump(low, place))


def tilde(low: Version, given: int) -> Span:
    """Up to the next minor version (of a lone major version: the next major one)."""
    return Span(low, above(low, min(given, 2)))


def at_least(low: Version, given: int) -> Span:
    """From here on."""
    return Span(low, None)


def more_than(low: Version, given: int) -> Span:
    """Behind all that begin with the numbers given."""
    if given == 3:
        return Span(after(low), None)
    # More than `*` is nothing: an empty span.
    return Span(above(low, given) or ZERO, None if given else ZERO)


def less_than(low: Version, given: int) -> Span:
    """Before here; less than `*` is nothing."""
    return Span(ZERO, low if given else ZERO)


def at_most(low: Version, given: int) -> Span:
    """Up to all that begin with the numbers given."""
    return Span(ZERO, after(low) if given == 3 else above(low, given))


BOUNDS: dict[str, Callable[[Version, int], Span]] = {
    "=": equal,
    "^": caret,
    "~": tilde,
    ">=": at_least,
    ">": more_than,
    "<": less_than,
    "<=": at_most,
}


def split_selector(selector: str) -> tuple[str, Range]:
    """`name@range` or `name` (any version). Raises ValueError for a range that cannot be read."""
    name, _, text = selector.partition("@")
    return name, Range.parse(text or "*")
