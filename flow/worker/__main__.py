"""Entry of a worker process: `python -m flow.worker FD`, with FD the channel to the executor that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves until told to stop. Signals of the terminal are the executor's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sock = socket.socket(fileno=int(sys.argv[1]))
    if os.getppid() == 1:
        return
    from flow.worker.lane import serve

    serve(sock, own_process=True)


if __name__ == "__main__":
    main()
