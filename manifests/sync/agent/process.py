"""The engine's process: started by the agent, found again by the next agent where this one was killed, started anew where it has died.

Whoever holds `engine.lock` is the engine. The agent takes the lock and hands it down, so that there is never a second one, and never a
moment in which a living engine could be overlooked.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from manifests.store.effects import Effects, make_folder, write_file
from manifests.sync.channel.wake import Wake

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
"""Until an engine that has died is started again; doubled each time."""
PROVEN_S = 120.0
"""One that has lived so long is started again at once."""
END_S = 20.0
"""How long an engine may take to end in order."""
LOOK_S = 0.05
MOST_PATH = 100
"""Bytes of the path of a socket; Linux takes 107."""


class EngineProcess:
    """Keeps one engine alive in `folder` (0700) until `stop`.

    `command` starts it, with `--socket PATH --lock DESCRIPTOR` behind it. One that lives but was started by another command, or for
    something else than `purpose`, is ended first. `ready` is called, from a thread, when a new one answers; `say` hears what happened.
    Raises OSError where the folder cannot be used.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, *, ready: Callable[[], None], say: Callable[[str], None], purpose: str = "",
        effects: Effects | None = None,
    ) -> None:  # fmt: skip
        self.socket = folder / "engine"
        if len(os.fsencode(self.socket)) > MOST_PATH:
            most = MOST_PATH - len(os.fsencode(self.socket)) + len(os.fsencode(folder))
            raise OSError(36, f"expected a path of at most {most} characters, got a longer one; choose another --store", str(folder))
        self._effects = effects or Effects()
        make_folder(self._effects, folder, 0o700)
        if folder.is_symlink() or folder.stat().st_mode & 0o077 or folder.stat().st_uid != os.geteuid():
            raise OSError(1, f"expected a folder of our own with mode 0700 (chmod 700 {folder})", str(folder))
        self._command, self._lock_path, self._ready, self._say = list(command), folder / "engine.lock", ready, say
        self._origin_path, self._origin = folder / "engine.json", json.dumps([*self._command, purpose])
        self._wake = Wake()
        self._stopping = False
        self._pid = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="engine", daemon=True)

    def start(self) -> None:
        """Finds the engine that lives, or starts one."""
        self._thread.start()

    def end(self) -> None:
        """Asks the engine to end in order, and starts no other. Returns at once; may be called by a signal handler."""
        self._stopping = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def stop(self) -> None:
        """Ends the engine in order, and by force where it does not."""
        self.end()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._wake.close()

    @property
    def pid(self) -> int:
        """Of the engine; 0 while there is none."""
        return self._pid

    def _goes_on(self) -> bool:
        return not self._stopping

    # ---- the thread

    def _keep(self) -> None:
        wait = FIRST_WAIT_S
        while self._goes_on():
            began = time.monotonic()
            try:
                watched, new = self._begin()
            except OSError as error:
                if not self._goes_on():
                    return
                self._say(f"the engine cannot be started: {error.strerror or error}; it is tried again")
            else:
                self._watch(watched, new)
                os.close(watched)
                self._end_of_it()
            if not self._goes_on():
                return
            wait = FIRST_WAIT_S if time.monotonic() - began > PROVEN_S else min(LONGEST_WAIT_S, 2 * wait)
            self._pause(wait)

    def _begin(self) -> tuple[int, bool]:
        """A descriptor that tells when the engine has died, and whether it is a new one."""
        self._effects.touch(self._lock_path)
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        try:
            while self._goes_on():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if (found := self._living(lock)) is not None:
                        return found, False
                    self._pause(LOOK_S)  # it has not yet said who it is, or has just died
                else:
                    return self._spawn(lock), True
            raise OSError(4, "the agent is ending")
        finally:
            os.close(lock)

    def _living(self, lock: int) -> int | None:
        text = os.pread(lock, 32, 0).strip()
        if not text.isdigit():
            return None
        try:
            watched = os.pidfd_open(int(text))
        except OSError:
            return None
        self._pid = int(text)
        if not self._is_mine():
            self._say("the engine was started with other settings: it is ended, and started anew")
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        return watched

    def _is_mine(self) -> bool:
        try:
            return self._origin_path.read_text() == self._origin
        except (OSError, UnicodeDecodeError):
            return False

    def _spawn(self, lock: int) -> int:
        self._effects.create(self._lock_path)
        self._effects.unlink(self.socket)
        if not self._is_mine():
            with contextlib.suppress(OSError):  # a full disk stops no engine: at worst the next agent starts it anew
                write_file(self._effects, self._origin_path, self._origin.encode())
        command = [*self._command, "--socket", str(self.socket), "--lock", str(lock)]
        # A session of its own: what a terminal sends to the agent is the agent's to pass on.
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(lock,), start_new_session=True)
        self._pid = self._child.pid
        return os.pidfd_open(self._pid)

    def _watch(self, watched: int, new: bool) -> None:
        """Until it has died."""
        answered = not new
        killed_at = float("inf")
        poller = select.poll()
        poller.register(watched, select.POLLIN)
        poller.register(self._wake.descriptor, select.POLLIN)
        while True:
            timeout = None if answered and self._goes_on() else LOOK_S
            events = {descriptor for descriptor, _ in poller.poll(None if timeout is None else 1000 * timeout)}
            if watched in events:
                return
            if self._wake.descriptor in events:
                self._wake.clear()
            if not self._goes_on() and killed_at == float("inf"):
                killed_at = time.monotonic() + END_S
                self.end()
            if time.monotonic() > killed_at:
                self._say("the engine did not end in order: it is killed")
                os.kill(self._pid, signal.SIGKILL)
                killed_at = float("inf")
            if not answered and self._answers():
                answered = True
                self._ready()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            return True

    def _end_of_it(self) -> None:
        """It has died: says how, unless it was asked to."""
        pid, self._pid = self._pid, 0
        status = self._child.wait() if self._child is not None else None
        self._child = None
        if self._goes_on():
            how = "" if status is None else f" ({signal.strsignal(-status) if status < 0 else f'status {status}'})"
            self._say(f"the engine (process {pid}) has ended{how}; it is started again")

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._goes_on() and (left := until - time.monotonic()) > 0:
            if select.select([self._wake.descriptor], [], [], left)[0]:
                self._wake.clear()
