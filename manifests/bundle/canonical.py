"""Canonical JSON: one value has exactly one encoding, so that a digest names what a document says."""

from __future__ import annotations

import hashlib
import json
from typing import Any


class BundleError(Exception):
    """A bundle, or a document of one, that cannot be used: what was expected, what came, where, what to do next."""


def encode(value: Any) -> bytes:
    """The encoding: keys sorted, no spaces, UTF-8. Raises BundleError for what JSON cannot say, such as a number that is not finite."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"expected a value that JSON can say, got one that it cannot: {error}") from None


def decode(data: bytes, *, what: str, limit: int) -> Any:
    """The value of a canonical document of at most `limit` bytes. Raises BundleError for anything else; `what` names it in the message."""
    if len(data) > limit:
        raise BundleError(f"{what}: expected at most {limit} bytes, got {len(data)}")
    try:
        value = json.loads(data)
        same = encode(value) == data
    except (ValueError, RecursionError, BundleError) as error:
        raise BundleError(f"{what}: expected JSON, got something else: {error}") from None
    if not same:
        raise BundleError(f"{what}: expected canonical JSON (sorted keys, no spaces, every key once), got another form; pack it again")
    return value


def digest(data: bytes) -> str:
    """sha256, hex."""
    return hashlib.sha256(data).hexdigest()
