"""`python -m flow.worker FD`: the nursery; `python -m flow.worker single FD`: one worker. FD is the channel to the executor."""

from __future__ import annotations

import signal
import socket
import sys


def main() -> None:
    """Serves until told to stop. Signals of the terminal are the executor's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from flow.worker import nursery

    nursery.end_with_parent()
    sock = socket.socket(fileno=int(sys.argv[-1]))
    if nursery.SINGLE in sys.argv:
        nursery.serve_one(sock)
    else:
        nursery.serve(sock)


if __name__ == "__main__":
    main()
