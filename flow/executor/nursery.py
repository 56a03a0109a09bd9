"""The executor's side of the nursery: asks for workers, and learns how each ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

from devices.threads import environment
from flow import channel

START_TIMEOUT_S = 120.0


class NurseryError(Exception):
    """No worker can be started."""


def _cpu_s(pid: int) -> float:
    """Processor time of a process; 0 when it is gone."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # its CPU-time clock, as clock_getcpuclockid(3) makes it
    except OSError:
        return 0.0


class Child:
    """A worker's process. `returncode` as subprocess has it: negative for a signal; None while it lives."""

    def __init__(self, nursery: Nursery, pid: int, pidfd: int) -> None:
        self._nursery, self.pid, self._pidfd = nursery, pid, pidfd
        self.returncode: int | None = None

    def kill(self) -> None:
        """SIGKILL, if it still lives."""
        if self.returncode is None:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return

    def cpu_s(self) -> float:
        """Processor time it has used, while it lives."""
        return _cpu_s(self.pid)

    def wait(self, timeout_s: float) -> bool:
        """Waits for its end; whether it came."""
        give_up = time.monotonic() + timeout_s
        while self.returncode is None and (left := give_up - time.monotonic()) > 0:
            self._nursery.wait(left)
        return self.returncode is not None

    def ended(self, returncode: int) -> None:
        """Told by the nursery."""
        self.returncode = returncode
        os.close(self._pidfd)


class Nursery:
    """Started with the first worker, and again when it died (its workers die with it)."""

    def __init__(self, plan_json: str) -> None:
        self._plan = plan_json
        self._process: subprocess.Popen[bytes] | None = None
        self._children: dict[int, Child] = {}
        self.sock: socket.socket | None = None
        self._cpu_s = 0.0

    def spawn(self, fd: int, threads: int) -> Child:
        """A new worker, which finds its channel at `fd`. Raises NurseryError."""
        try:
            return self._spawn(fd, threads)
        except channel.Closed:
            self._closed()
        try:
            return self._spawn(fd, threads)
        except channel.Closed as error:
            self._closed()
            raise NurseryError(f"expected a process that workers are forked from, but it ends at once: {error}") from error

    def _spawn(self, fd: int, threads: int) -> Child:
        if self.sock is None:
            self._start()
        assert self.sock is not None
        channel.send(self.sock, {"kind": "spawn", "threads": threads}, [fd])
        while True:
            message, fds = channel.receive(self.sock)
            if message["kind"] == "born":
                child = self._children[message["pid"]] = Child(self, message["pid"], fds[0])
                return child
            self._dead(message["pid"], message["status"], message["cpu"])

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(START_TIMEOUT_S)
        command = [sys.executable, "-P", "-m", "flow.worker", str(theirs.fileno())]
        env = {**os.environ, **environment(1)}  # one thread, or it could not fork
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env, stdin=subprocess.DEVNULL, process_group=0)
        theirs.close()
        self.sock = ours
        channel.send(ours, {"kind": "plan", "plan": self._plan})

    def _dead(self, pid: int, status: int, cpu_s: float) -> None:
        self._cpu_s += cpu_s
        child = self._children.pop(pid, None)
        if child is not None:
            child.ended(os.waitstatus_to_exitcode(status))

    def _closed(self) -> None:
        """The nursery is dead, and every child with it."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for pid in list(self._children):
            self._children.pop(pid).ended(-signal.SIGKILL)
        self._cpu_s = 0.0  # it is among our own children's now

    def take(self) -> None:
        """What it has to say."""
        while self.sock is not None and channel.arrives(self.sock):
            try:
                message, _ = channel.receive(self.sock)
            except channel.Closed:
                self._closed()
                return
            self._dead(message["pid"], message["status"], message["cpu"])

    def wait(self, timeout_s: float) -> None:
        """Waits until it has something to say."""
        if self.sock is not None and channel.arrives(self.sock, timeout_s):
            self.take()

    def cpu_s(self) -> float:
        """Processor time of the nursery and of its dead children, while it lives."""
        if self._process is None or self._process.poll() is not None:
            return 0.0
        return self._cpu_s + _cpu_s(self._process.pid)

    def close(self) -> None:
        """Ends it, and what is left of its children."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
        self._closed()
