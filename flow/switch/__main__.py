"""The engine of a device, a process of its own: `python -m flow.switch`, started by `ace agent`, which speaks to it over a socket.

It holds the lock whose descriptor it was given as long as it lives. The agent's death changes nothing for it; SIGTERM ends it in order.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

FAILED = 1
LINGER_S = 15.0
"""How long a run that has failed stays, so that the agent can ask why and have it replaced."""
LOOK_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM, or until what runs has failed and nobody has replaced it."""
    given = options().parse_args(arguments)
    os.set_inheritable(given.lock, False)
    os.ftruncate(given.lock, 0)
    os.pwrite(given.lock, f"{os.getpid()}\n".encode(), 0)
    asked = threading.Event()

    def heard(_: int, __: FrameType | None) -> None:
        # A thread of its own: the handler may have interrupted the event's own lock.
        threading.Thread(target=asked.set).start()

    signal.signal(signal.SIGTERM, heard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    from flow.cli.options import bindings, targets
    from flow.switch.host import Host
    from flow.switch.service import Service

    host = Host(bind=bindings(given.bind), out=targets(given.out), workers=given.workers, link=given.link, say=say)
    service = Service(host, given.socket)
    failing = 0.0
    try:
        while not asked.wait(LOOK_S):
            failing = (failing or time.monotonic()) if host.failed else 0.0
            if failing and time.monotonic() - failing > LINGER_S:
                say(f"engine: {host.failed}")
                return FAILED
        return 0
    finally:
        host.close()
        service.close()


def options() -> argparse.ArgumentParser:
    """What the agent gives it."""
    parser = argparse.ArgumentParser(prog="python -m flow.switch", description=__doc__.partition("\n")[0])
    parser.add_argument("--socket", type=Path, required=True, help="where it is spoken to")
    parser.add_argument("--lock", type=int, required=True, help="descriptor of a locked file")
    parser.add_argument("--bind", action="append", default=[], metavar="STREAM=SOURCE")
    parser.add_argument("--out", action="append", default=[], metavar="OUTPUT=SINK")
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--link", default="auto")
    return parser


def say(message: str) -> None:
    """A line on standard error, as long as there is somebody to read it."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
