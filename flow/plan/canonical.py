"""One encoding for everything that is hashed: equal meaning gives equal bytes, on every machine and in every run."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

DIGEST_CHARS = 32
"""128 bits: enough that two nodes of all plans ever made do not meet by chance."""


def encode(value: Any) -> bytes:
    """Type-tagged bytes: `1`, `1.0`, `True` and `"1"` differ; -0.0 is 0.0; lists and tuples are one thing; mappings and sets have no order.

    Dataclasses count with their name and fields, enumerations by value. Raises ValueError for a number that is not finite, TypeError for
    a type that has no encoding.
    """
    match value:
        case None:
            return b"n"
        case Enum():
            return encode(value.value)
        case bool():
            return b"t" if value else b"f"
        case int():
            return b"i%d;" % value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"expected a finite number, got {value}")
            return b"d" + struct.pack(">d", value + 0.0)
        case str():
            return _sized(b"s", value.encode("utf-8", "surrogatepass"))
        case bytes():
            return _sized(b"b", value)
        case PurePath():
            return encode(value.as_posix())
        case list() | tuple():
            return b"l%d;" % len(value) + b"".join(map(encode, value))
        case AbstractSet():
            return b"e%d;" % len(value) + b"".join(sorted(map(encode, value)))
        case Mapping():
            pairs = sorted((encode(key), encode(item)) for key, item in value.items())
            return b"m%d;" % len(pairs) + b"".join(key + item for key, item in pairs)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return b"c" + encode(type(value).__name__) + encode({field.name: getattr(value, field.name) for field in fields(value)})
        case _:
            raise TypeError(f"expected None, a number, text, bytes, a list, a set, a mapping or a dataclass, got {type(value).__name__}")


def digest(*values: Any) -> str:
    """SHA-256 of the encoding, hex, the first 128 bits. Raises ValueError and TypeError as `encode`."""
    return hashlib.sha256(encode(values)).hexdigest()[:DIGEST_CHARS]


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + b"%d;" % len(data) + data
