"""The runtime served to the agent, over a socket that only its owner can open."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any

from manifests.sync import wire
from manifests.sync.runtime import Runtime, RuntimeRefusal

MOST_CALLERS = 8


class Service:
    """Answers calls until `close`. Each connection has a thread of its own, so a question about health need not wait for a load."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime, self.path = runtime, path
        self._callers: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        mask = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"{path}: expected a socket could be made there, got: {error.strerror}") from None
        finally:
            os.umask(mask)
        self._socket.listen(MOST_CALLERS)
        self._thread = threading.Thread(target=self._accept, name="ace-service", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes no more calls; those under way lose their connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for caller in self._callers:
                with contextlib.suppress(OSError):
                    caller.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                welcome = len(self._callers) < MOST_CALLERS
                if welcome:
                    self._callers.add(caller)
            if welcome:
                threading.Thread(target=self._serve, args=(caller,), name="ace-service-call", daemon=True).start()
            else:
                caller.close()

    def _serve(self, caller: socket.socket) -> None:
        try:
            while (message := wire.receive(caller)) is not None:
                wire.send(caller, self._answer(message))
        except (OSError, wire.WireError):
            pass  # who does not speak the protocol is left
        finally:
            with self._lock:
                self._callers.discard(caller)
            caller.close()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        call = message.get("call")
        if not isinstance(call, str) or call not in wire.ARGUMENT:
            return {"refused": f"expected one of {', '.join(wire.ARGUMENT)}, got {str(call)[:80]!r}"}
        try:
            adapter = wire.ARGUMENT[call]
            arguments = [] if adapter is None else [wire.read(adapter, message.get("argument"))]
            options = {}
            if call == "switch":
                options["keep_previous"] = bool(message.get("options", {}).get("keep_previous", True))
            return {"answer": wire.as_plain(wire.ANSWER[call], getattr(self.runtime, call)(*arguments, **options))}
        except (RuntimeRefusal, wire.WireError) as error:
            return {"refused": str(error)}
        except Exception as error:  # the caller is told; frames flow on
            return {"refused": f"{call}: {type(error).__name__}: {error}"}
