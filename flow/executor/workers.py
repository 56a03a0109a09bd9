"""A worker as the executor sees it: a process (or thread) with its channel, its block, its life story."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from typing import Any

from flow import channel
from flow.executor.nursery import Child, Nursery
from flow.ledger import Block, Layout, make_block
from flow.link.bell import LiveBell
from flow.plan.value import Plan
from flow.wiring import Seat

RESTART_WINDOW_S = 60.0
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 5.0


class Worker:
    """One seat of the plan through all its incarnations."""

    def __init__(self, seat: Seat, layout: Layout, *, threads: int, device: str) -> None:
        self.seat, self.threads, self.device = seat, threads, device
        self.plan: Plan
        """What the worker was started with, by whose numbers it speaks of nodes."""
        self.fd = make_block(layout, seat.name)
        self.block = Block(self.fd, layout)
        self.bell = LiveBell(seat.name)
        self.incarnation = -1
        self.ready = False
        self.restarts = 0
        self.gone = True
        self.due: float | None = None
        self.started = 0.0
        self.stalled = ""
        """Why this life is being ended."""
        self.sock: socket.socket | None = None
        self.process: Child | None = None
        self.thread: threading.Thread | None = None
        self.deaths: list[float] = []
        self.succeeds: Worker | None = None
        """One that rests, whose process our next life takes over."""

    @property
    def name(self) -> str:
        return f"{self.seat.name}.{self.incarnation}"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else os.getpid()

    @property
    def ended(self) -> bool:
        return bool(self.block.status()["ended"])

    def start(self, nursery: Nursery | None) -> None:
        """Starts the next incarnation, a process of the nursery or a thread of ours, or one that rests; it waits for its setup on the
        channel. Raises NurseryError.
        """
        self.incarnation += 1
        self.ready, self.gone, self.due = False, False, None
        self.started, self.stalled = time.monotonic(), ""
        self.block.set_status("ended", 0)
        self.block.leave()
        if self._succeed():
            return
        ours, theirs = socket.socketpair()
        ours.settimeout(10.0)
        self.sock = ours
        if nursery is not None:
            with theirs:
                self.process = nursery.spawn(theirs.fileno(), self.threads)
        else:
            self.thread = threading.Thread(target=self._serve, args=(theirs,), name=self.name, daemon=True)
            self.thread.start()

    def _succeed(self) -> bool:
        """Takes over the process of a worker that rests, if there is one and it lives."""
        old, self.succeeds = self.succeeds, None
        if old is None or old.dead() is not None or old.sock is None:
            return False
        self.sock, self.process, self.thread = old.sock, old.process, old.thread
        old.sock, old.process, old.thread, old.gone = None, None, None, True
        old.close()
        return True

    def dismiss(self) -> None:
        """Lets a worker go that rests: it ends with its channel."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _serve(self, sock: socket.socket) -> None:
        from flow.worker.life import serve

        try:
            serve(sock, own_process=False)
        finally:
            sock.close()

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        """Sends over the channel; a worker that is gone is noticed elsewhere."""
        if self.sock is not None:
            with contextlib.suppress(channel.Closed):
                channel.send(self.sock, message, fds or [])

    def dead(self) -> str | None:
        """How it ended, once it has."""
        if self.gone:
            return None
        if self.process is not None:
            code = self.process.returncode
            if code is None:
                return None
            return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if self.thread is not None and not self.thread.is_alive():
            return "its thread ended"
        return None

    def last_words(self) -> str | None:
        """Why it could not start, if that is how it ended: told on the channel before, so it is there."""
        if self.sock is None or not channel.arrives(self.sock):
            return None
        try:
            message, _ = channel.receive(self.sock)
        except channel.Closed:
            return None
        return str(message["message"]) if message.get("kind") == "failed" else None

    def bury(self) -> None:
        """Notes the death and when to start again."""
        self.gone, self.ready = True, False
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        now = time.monotonic()
        self.deaths = [death for death in self.deaths if now - death < RESTART_WINDOW_S] + [now]

    def backoff_s(self) -> float:
        """How long to wait before the next start; nothing after a first death."""
        return 0.0 if len(self.deaths) < 2 else min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** (len(self.deaths) - 2))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def join(self, timeout_s: float) -> bool:
        """Waits for its end."""
        if self.process is not None:
            return self.process.wait(timeout_s)
        if self.thread is not None:
            self.thread.join(timeout_s)
            return not self.thread.is_alive()
        return True

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.bell.close()
