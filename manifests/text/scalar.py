"""Plain scalars as the core schema of YAML 1.2 reads them, which is what JSON means by them.

`yes`, `no`, `on`, `off` and dates are text (YAML 1.1 would make them booleans and timestamps), `1e3` is a number, `0x1f` and `0o17` are
whole numbers. What YAML 1.1 and 1.2 read differently as numbers (`0777`), non-finite numbers, and whole numbers that need
more than 64 bits are refused.
"""

from __future__ import annotations

import math
import re

Scalar = None | bool | int | float | str

CONSTANTS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
INTEGER = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
NON_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
MAX_DIGITS = 22


class ScalarError(ValueError):
    """A scalar that is refused: `expected` and `hint` say why."""

    def __init__(self, expected: str, hint: str) -> None:
        super().__init__(expected)
        self.expected, self.hint = expected, hint


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar. Raises ScalarError."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    if LEADING_ZERO.fullmatch(text):
        raise ScalarError("a number without leading zeros", "write 0o17 for an octal number, or put text in quotes")
    if INTEGER.fullmatch(text):
        return integer(text)
    if FLOAT.fullmatch(text):
        return real(text)
    if NON_FINITE.fullmatch(text):
        raise ScalarError("a finite number", "put text in quotes")
    return text


def integer(text: str) -> int:
    """Raises ScalarError for a number outside of 64 bits."""
    value = int(text, 0) if len(text) <= MAX_DIGITS else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise ScalarError("a whole number of at most 64 bits", "put text in quotes")
    return value


def real(text: str) -> float:
    """Raises ScalarError for a number that overflows."""
    value = float(text)
    if not math.isfinite(value):
        raise ScalarError("a finite number", "a 64-bit float ends near 1.8e308")
    return value


def is_text(text: str) -> bool:
    """Whether the text, written plainly, is read back as text."""
    try:
        return isinstance(resolve(text), str)
    except ScalarError:
        return False
