"""The engine in another process: the agent's calls travel over a local socket, so the death of the one is not that of the other."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

from manifests.sync import wire
from manifests.sync.runtime import Admission, Health, Release, RuntimeRefusal, Shadowed, Staging, Switched, Trial, Verification

SOON_S, LOADING_S = 10.0, 300.0
TIMEOUT_S = {
    "admit": 60.0,
    "stage": LOADING_S,
    "verify": LOADING_S,
    "shadow": LOADING_S,
    "switch": LOADING_S,
    "abort": LOADING_S,
    "settle": 30.0,
    "health": SOON_S,
}


class Engine:
    """A `Runtime` behind the socket at `path`. Calls of several threads go over connections of their own, one each.

    A call raises RuntimeRefusal when the engine refuses, ConnectionError when there is no engine or it does not answer in time.
    """

    def __init__(self, path: Path, *, timeout_s: dict[str, float] | None = None) -> None:
        self.path = path
        self._timeout_s = TIMEOUT_S | (timeout_s or {})
        self._local = threading.local()

    def admit(self, release: Release) -> Admission:
        answer: Admission = self._call("admit", release)
        return answer

    def stage(self, release: Release) -> Staging:
        answer: Staging = self._call("stage", release)
        return answer

    def verify(self, revision: int) -> Verification:
        answer: Verification = self._call("verify", revision)
        return answer

    def shadow(self, trial: Trial) -> Shadowed:
        answer: Shadowed = self._call("shadow", trial)
        return answer

    def switch(self, revision: int, *, keep_previous: bool = True) -> Switched:
        answer: Switched = self._call("switch", revision, keep_previous=keep_previous)
        return answer

    def abort(self, revision: int) -> Switched | None:
        answer: Switched | None = self._call("abort", revision)
        return answer

    def settle(self, revision: int) -> None:
        self._call("settle", revision)

    def health(self) -> Health:
        answer: Health = self._call("health")
        return answer

    def close(self) -> None:
        """Closes this thread's connection."""
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is not None:
            self._local.sock = None
            sock.close()

    def _call(self, call: str, argument: Any = None, **options: Any) -> Any:
        adapter = wire.ARGUMENT[call]
        message = {"call": call, "options": options}
        if adapter is not None:
            message["argument"] = wire.as_plain(adapter, argument)
        timeout = self._timeout_s[call]
        try:
            sock = self._connected(timeout)
            wire.send(sock, message)
            answer = wire.receive(sock)
        except TimeoutError:
            self.close()
            raise ConnectionError(f"engine at {self.path}: expected an answer to `{call}` within {timeout:g} s, got none") from None
        except (OSError, wire.WireError) as error:
            self.close()
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ConnectionError(f"engine at {self.path}: expected an answer to `{call}`, got: {said}") from None
        if answer is None:
            self.close()
            raise ConnectionError(f"engine at {self.path}: expected an answer to `{call}`, got the end of the connection")
        if "refused" in answer:
            raise RuntimeRefusal(str(answer["refused"]))
        try:
            return wire.read(wire.ANSWER[call], answer.get("answer"))
        except wire.WireError as error:
            self.close()
            raise ConnectionError(f"engine at {self.path}: expected an answer to `{call}`, got something else: {error}") from None

    def _connected(self, timeout_s: float) -> socket.socket:
        sock: socket.socket | None = getattr(self._local, "sock", None)
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.settimeout(timeout_s)
            with contextlib.ExitStack() as stack:
                stack.callback(sock.close)
                sock.connect(str(self.path))
                stack.pop_all()
            self._local.sock = sock
        sock.settimeout(timeout_s)
        return sock
