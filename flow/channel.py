"""Messages with file descriptors between the executor and one worker, over an AF_UNIX stream socket.

Both ends are processes of the same user that this engine started; a message is JSON behind a length.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("<IH")
MAX_BYTES = 64 << 20
MAX_FDS = 200


class Closed(Exception):
    """The other end is gone."""


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Sends a message and duplicates of `fds` (at most 200). Raises Closed; nothing more goes over the channel then."""
    data = json.dumps(message).encode()
    try:
        socket.send_fds(sock, [LENGTH.pack(len(data), len(fds))], list(fds))
        sock.sendall(data)
    except OSError as error:
        with contextlib.suppress(OSError):  # half a message may be there, and what follows would be taken for its rest
            sock.shutdown(socket.SHUT_RDWR)
        raise Closed(f"the other end of the channel is gone: {error}") from error


def arrives(sock: socket.socket, timeout_s: float = 0.0) -> bool:
    """Whether a message, or the other end's end, comes within so long. By poll: select(2) knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and its descriptors, waiting for it. Raises Closed."""
    try:
        head, fds, _, _ = socket.recv_fds(sock, LENGTH.size, MAX_FDS)
        while 0 < len(head) < LENGTH.size:
            head += sock.recv(LENGTH.size - len(head))
        if not head:
            raise Closed("the other end of the channel is closed")
        length, count = LENGTH.unpack(head)
        if length > MAX_BYTES or count != len(fds):
            raise Closed(f"expected at most {MAX_BYTES} bytes and {count} descriptors, got {length} and {len(fds)}")
        parts, missing = [], length
        while missing:
            part = sock.recv(min(missing, 1 << 20))
            if not part:
                raise Closed("the other end of the channel closed in a message")
            parts.append(part)
            missing -= len(part)
    except OSError as error:
        raise Closed(f"the channel broke: {error}") from error
    message = json.loads(b"".join(parts))
    assert isinstance(message, dict)
    return message, fds
