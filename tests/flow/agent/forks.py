"""Agents and engines forked from a process that has imported everything: they cost what they do, not what they import."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from manifests.sync.agent import process

MOST_COMMAND = 1 << 16
PR_SET_PDEATHSIG = 1


class Forked:
    """In the agent, in place of `subprocess.Popen`: whoever forked the agent forks the engine."""

    control: socket.socket

    def __init__(self, command: Sequence[str], *, pass_fds: Sequence[int], **_: Any) -> None:
        socket.send_fds(self.control, [json.dumps(command).encode()], pass_fds)
        self.pid = int(self.control.recv(32))

    def wait(self) -> int:
        return 0


class Household:
    """An agent at a time, and the engine that may outlive it. `engine(command, lock)` is what the engine's process does."""

    def __init__(self, engine: Callable[[list[str], int], None], failed: Callable[[BaseException], None]) -> None:
        self._make, self._failed, self._engine = engine, failed, 0

    def live(self, agent: Callable[[], None], born: Callable[[int], None]) -> int:
        """The agent's process from its beginning to its end; its status, negative for a signal. `born` is given its number."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def child() -> None:
            Forked.control = theirs
            process.subprocess.Popen = Forked  # type: ignore[assignment, misc]
            ours.close()
            agent()

        with ours, theirs:
            pid = forked(child, self._failed)
            born(pid)
            watched = os.pidfd_open(pid)
            poller = select.poll()
            for descriptor in (ours.fileno(), watched):
                poller.register(descriptor, select.POLLIN)
            while watched not in (ready := dict(poller.poll())):
                if ours.fileno() in ready:
                    self._start(ours)
            os.close(watched)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def end(self) -> None:
        """No engine is left."""
        if self._engine:
            os.kill(self._engine, signal.SIGKILL)
            os.waitpid(self._engine, 0)
            self._engine = 0

    def _start(self, control: socket.socket) -> None:
        text, (lock,), _, _ = socket.recv_fds(control, MOST_COMMAND, 1)
        self.end()
        command = json.loads(text)

        def child() -> None:
            os.setsid()
            control.close()
            self._make(command, lock)

        self._engine = forked(child, self._failed)
        os.close(lock)
        control.send(str(self._engine).encode())


def forked(what: Callable[[], None], failed: Callable[[BaseException], None]) -> int:
    """A process that does this and nothing else, and ends with this one, whatever becomes of the tests."""
    if child := os.fork():
        return child
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        what()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        failed(error)
    finally:
        os._exit(status)
