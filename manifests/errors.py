"""The one error of manifests: what was expected, what came, where it stands, what to do next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from manifests.position import Position

SHOWN_PROBLEMS = 50
SHOWN_TEXT = 80
SHOWN_NAMES = 24
PASSWORD_IN_URL = re.compile(r"^((?:[a-z][a-z0-9+.-]*:)+//[^/?#@:\[]*:)(?!\d{1,5}/)([^@]+)(?=@)", re.IGNORECASE)
PASSWORD_IN_QUERY = re.compile(r"((?:pass|passwd|password|pwd|token|secret)=)[^&;\s]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `path` leads to the value inside its document: `graph.boxes.config.score`, `businesses.0.use`."""

    position: Position
    path: str
    expected: str
    got: str = ""
    hint: str = ""

    def __str__(self) -> str:
        column = f":{self.position.column}" if self.position.line and self.position.column else ""
        path = f"{self.path}: " if self.path else ""
        got = f", got {self.got}" if self.got else ""
        hint = f" - {self.hint}" if self.hint else ""
        return printable(f"{self.position}{column}: {path}expected {self.expected}{got}{hint}")


class ManifestError(Exception):
    """Manifests that cannot be used: every problem found, one line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"... and {len(self.problems) - SHOWN_PROBLEMS} more problems")
        return "\n".join(lines)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be, or None."""
    names = list(candidates)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:
        folded = {candidate.casefold(): candidate for candidate in names}
        close = [folded[match] for match in difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)]
    return close[0] if close else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint at the nearest candidate; empty when none is near."""
    match = nearest(name[:SHOWN_TEXT], candidates)
    return f"did you mean `{match}`?" if match else ""


def one_of(candidates: Iterable[str]) -> str:
    """What is expected where only these names are valid."""
    names = list(candidates)
    if not names:
        return "nothing (there is none)"
    more = f" ... ({len(names)} in all)" if len(names) > SHOWN_NAMES else ""
    return ("one of " if len(names) > 1 else "") + ", ".join(f"`{name}`" for name in names[:SHOWN_NAMES]) + more


def show(value: Any) -> str:
    """A value in few words. Passwords in URLs are masked."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            text = mask(value[:4096])
            return f"`{text}`" if len(text) <= SHOWN_TEXT and len(value) <= 4096 else f"`{text[:SHOWN_TEXT]}...` ({len(value)} characters)"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return "a mapping of " + ", ".join(list(value)[:4]) + (", ..." if len(value) > 4 else "") if value else "an empty mapping"
        case _:
            return f"a {type(value).__name__}"


def mask(text: str) -> str:
    """The text with passwords that stand in a URL replaced by `***`."""
    return PASSWORD_IN_QUERY.sub(r"\1***", PASSWORD_IN_URL.sub(r"\1***", text))


def printable(text: str) -> str:
    """The text on one line, every control character escaped, so that a manifest cannot write to a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
