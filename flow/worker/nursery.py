"""Where workers are born: a process of one thread that has imported what they need, and forks one whenever the executor asks.

It forks only as long as it has a single thread; should a library have started another, workers are started by exec instead. It tells the
executor how each of its children ended, and ends with the executor, and its children with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from devices import kernels, threads
from flow import channel
from flow.plan.codec import decode_plan
from flow.plan.value import Plan
from ops import catalog

SINGLE = "single"
"""Argument of `python -m flow.worker` before the channel of a worker that is started by exec."""


def preload(plan: Plan) -> None:
    """Imports what the plan's workers will, as far as it is ours: others' modules may start threads, and then we could not fork."""
    schemes = {stream.source.partition(":")[0] if ":" in stream.source else "file" for stream in plan.streams}
    modules = ["flow.worker.life", "flow.sources.stream", "devices.kernels.image"]
    modules += [f"ops.{node.op}" for node in plan.nodes]
    modules += [f"flow.sources.{scheme}" for scheme in schemes if scheme.isidentifier()]
    modules += [f"flow.sinks.{sink}" for sink in ("jsonl", "video", "stdout", "zmq")] if plan.sinks else []
    modules += ["devices.native.machine", "devices.native.programs"] if any(node.engine == "native" for node in plan.nodes) else []
    modules += ["devices.session", "ops.nn.infer", *(f"devices.engines.{node.engine}" for node in plan.nodes)] if plan.models else []
    for module in modules:
        with contextlib.suppress(ImportError):  # the worker that needs it will say what is wrong
            import_module(module)
    kernels.functions()
    catalog.look()
    gc.collect()
    gc.freeze()


def single_threaded() -> bool:
    """Whether this process may fork without exec."""
    return len(list(Path("/proc/self/task").iterdir())) == 1


class Nursery:
    """Serves one executor over a channel."""

    def __init__(self, sock: socket.socket, plan: Plan) -> None:
        self.sock, self.plan = sock, plan
        self.children: dict[int, int] = {}
        """pidfd -> pid"""

    def run(self) -> None:
        """Until the executor is gone; raises channel.Closed then."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.sock.fileno():
                    message, fds = channel.receive(self.sock)
                    pidfd = self._bear(fds[0], int(message["threads"]))
                    poll.register(pidfd, select.POLLIN)
                    channel.send(self.sock, {"kind": "born", "pid": self.children[pidfd]}, [pidfd])
                else:
                    poll.unregister(fd)
                    self._bury(fd)

    def _bear(self, fd: int, count: int) -> int:
        fork = single_threaded()
        pid = os.fork()
        if pid == 0:
            self._live(fd, count, fork)
        os.close(fd)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = pid
        return pidfd

    def _live(self, fd: int, count: int, fork: bool) -> NoReturn:
        """The child."""
        status = 1
        try:
            end_with_parent()
            if not fork:
                os.set_inheritable(fd, True)
                command = [sys.executable, "-P", "-m", "flow.worker", SINGLE, str(fd)]
                os.execve(sys.executable, command, {**os.environ, **threads.environment(count)})  # noqa: S606 - no shell is wanted
            self.sock.close()
            for pidfd in self.children:
                os.close(pidfd)
            threads.limit(count)
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()
            serve_one(socket.socket(fileno=fd), self.plan)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)  # what the parent would do at its end is not ours to do

    def _bury(self, pidfd: int) -> None:
        pid, status, usage = os.wait4(self.children.pop(pidfd), 0)
        os.close(pidfd)
        channel.send(self.sock, {"kind": "dead", "pid": pid, "status": status, "cpu": usage.ru_utime + usage.ru_stime})


def serve_one(sock: socket.socket, plan: Plan | None = None) -> None:
    """A worker's life. Sources that wait for cameras, and libraries, have threads beside the worker's own."""
    from flow.worker.life import serve
    from flow.worker.turns import short_turns

    with short_turns():
        serve(sock, own_process=True, plan=plan)


def end_with_parent() -> None:
    """This process is killed when its parent ends."""
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before that
        os._exit(1)


def serve(sock: socket.socket) -> None:
    """The nursery's life: told the plan, then asked for workers."""
    with contextlib.suppress(channel.Closed):
        message, _ = channel.receive(sock)
        plan = decode_plan(message["plan"])
        preload(plan)
        Nursery(sock, plan).run()
