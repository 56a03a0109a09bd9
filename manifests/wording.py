"""What Pydantic found, in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
}


def expectation(error: Mapping[str, Any]) -> str:
    """What one of `ValidationError.errors()` says was expected."""
    if error["type"] in EXPECTED:
        return EXPECTED[error["type"]].format(**error.get("ctx", {}))
    text: str = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:]


def choices(error: Mapping[str, Any]) -> list[str]:
    """The names of a `literal_error` that would have been right."""
    return re.findall(r"'([^']*)'", error["ctx"]["expected"])
