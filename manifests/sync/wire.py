"""Calls of the runtime as messages over a local socket: four bytes of length, then JSON."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from manifests.sync.runtime import Admission, Health, Release, Shadowed, Staging, Switched, Trial, Verification

MOST_BYTES = 4 << 20
LENGTH = struct.Struct("!I")


class WireError(Exception):
    """Bytes that are no message of this protocol: expected and got."""


RELEASE: TypeAdapter[Release] = TypeAdapter(Release)
REVISION: TypeAdapter[int] = TypeAdapter(int)
ARGUMENT: Mapping[str, TypeAdapter[Any] | None] = {
    "admit": RELEASE,
    "stage": RELEASE,
    "verify": REVISION,
    "shadow": TypeAdapter(Trial),
    "switch": REVISION,
    "abort": REVISION,
    "settle": REVISION,
    "health": None,
}
"""What each call is given."""
ANSWER: Mapping[str, TypeAdapter[Any]] = {
    "admit": TypeAdapter(Admission),
    "stage": TypeAdapter(Staging),
    "verify": TypeAdapter(Verification),
    "shadow": TypeAdapter(Shadowed),
    "switch": TypeAdapter(Switched),
    "abort": TypeAdapter(Switched | None),
    "settle": TypeAdapter(None),
    "health": TypeAdapter(Health),
}


def send(sock: socket.socket, message: Mapping[str, Any]) -> None:
    """Sends one message. Raises WireError for one that is too long, OSError."""
    data = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    if len(data) > MOST_BYTES:
        raise WireError(f"a message: expected at most {MOST_BYTES} bytes, got {len(data)}")
    sock.sendall(LENGTH.pack(len(data)) + data)


def receive(sock: socket.socket) -> dict[str, Any] | None:
    """The next message; None when the other side has closed. Raises WireError, OSError."""
    head = _exactly(sock, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MOST_BYTES:
        raise WireError(f"a message: expected at most {MOST_BYTES} bytes, got one of {length}")
    data = _exactly(sock, length)
    if data is None:
        raise WireError(f"a message: expected {length} bytes, got an end within them")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message: expected JSON, got something else: {error}") from None
    if not isinstance(message, dict):
        raise WireError(f"a message: expected an object, got {type(message).__name__}")
    return message


def as_plain(adapter: TypeAdapter[Any], value: Any) -> Any:
    """A value as JSON holds it."""
    return adapter.dump_python(value, mode="json")


def read(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The value again. Raises WireError."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "value"
        raise WireError(f"{where}: {first['msg']}") from None


def _exactly(sock: socket.socket, length: int) -> bytes | None:
    parts, left = [], length
    while left:
        part = sock.recv(min(left, 1 << 20))
        if not part:
            if left == length:
                return None
            raise WireError(f"a message: expected {length} bytes, got an end after {length - left}")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
