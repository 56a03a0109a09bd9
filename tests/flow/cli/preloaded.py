"""`ace` in processes forked from one that has imported it: a command costs what it does, and not a second of imports.

Each is a process with arguments, folder, environment, output and end of its own; nothing but modules is there before it begins.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODULES = (
    *("flow.cli.app", "flow.cli.failure", "flow.cli.planned", "flow.cli.run", "flow.cli.unseen", "flow.executor", "flow.plan.make"),
    *("manifests.loading", "ops.catalog", "ops.motion.background", "ops.track.iou", "yaml"),
)


class Preloaded:
    """The process that is forked, one command at a time. Ends with the context."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # whoever forks has no other
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=one_thread, stdin=subprocess.DEVNULL)
        self._busy = threading.Lock()

    def __enter__(self) -> Preloaded:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self._process.wait(60)

    def run(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Like `subprocess.run` of `ace`, its output as text, with nothing to read. Raises TimeoutExpired."""
        with self._busy:
            ends, theirs = zip(os.pipe(), os.pipe(), strict=True)
            socket.send_fds(self._sock, [json.dumps([arguments, str(cwd), dict(environment)]).encode()], theirs)
            for end in theirs:
                os.close(end)
            late = threading.Timer(timeout, os.kill, (int(self._sock.recv(64)), signal.SIGKILL))
            late.start()
            with ThreadPoolExecutor(2) as readers:
                stdout, stderr = readers.map(read, ends)
            status = int(self._sock.recv(64))
            in_time = late.is_alive()
            late.cancel()
        if not in_time:
            raise subprocess.TimeoutExpired(list(arguments), timeout, stdout, stderr)
        return subprocess.CompletedProcess(list(arguments), status, stdout, stderr)


def read(end: int) -> str:
    with open(end, encoding="utf-8") as said:
        return said.read()


def serve(sock: socket.socket) -> None:
    """Forks for each command that comes; returns in its process alone."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [place for place in sys.path if place not in before]
    while True:
        request, fds, _, _ = socket.recv_fds(sock, 1 << 20, 2)
        if not request:
            sys.exit()
        pid = os.fork()
        if pid == 0:
            sock.close()
            become(*json.loads(request), fds, path)
            return
        for fd in fds:
            os.close(fd)
        sock.send(str(pid).encode())
        sock.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def become(arguments: Sequence[str], cwd: str, environment: Mapping[str, str], output: Sequence[int], path: Sequence[str]) -> None:
    """What the interpreter would have begun with."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for fd, standard in zip(output, (1, 2), strict=True):
        os.dup2(fd, standard)
        os.close(fd)
    sys.argv = ["ace", *arguments]
    sys.path[:] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *path]
    importlib.invalidate_caches()


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    from flow.cli import main

    main()
