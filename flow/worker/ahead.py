"""A source that waits until it is asked, read by a thread of its own: whatever its file system does, the worker goes on hearing others.

For plans that change while they run. A network share that answers no more would otherwise hold up a change of plans for as long: here the
source is one that gives nothing, as a camera that is away, and the plans change without a frame of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from flow.worker.source import Shot, WaitingSource

if TYPE_CHECKING:
    from flow.sources.stream import Captured

PATIENCE_S = 2.0
"""How long an unfinished read is waited for at the end."""


class AheadSource(WaitingSource):
    """Its thread reads one frame when the one before has been taken. The thread alone touches the reader as long as it reads."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asked = threading.Lock()
        self._asked.acquire()
        self._reads = self._closing = False
        self._direct = False
        """Whether the source makes its pictures itself, where they are read: it is asked without a thread between."""
        self._found: list[Captured | BaseException | None] = []
        """What was read, or came of it; the thread puts it here, and asks for nothing before it is taken."""
        self._thread = threading.Thread(target=self._read_on, name=f"read-{self.stream.name}", daemon=True)

    @property
    def waitable(self) -> int:
        return self._bell

    def due(self) -> bool:
        return self._direct or self.rang or bool(self._found) or not self._reads or self.draining or self._returned is not None

    def take(self) -> Shot | None:
        if not self.rang:
            self._empty_bell()
        self.rang = False
        shot = super().take()
        if shot is not None and not self.draining and (self.frames is None or self.next_seq < self.frames):
            self._come()  # it reads while others work on this one
        return shot

    def _fills(self) -> bool:
        return self._direct and super()._fills()

    def fillable(self) -> int:
        """As of any source, once it is known to make its pictures itself. Raises SourceError."""
        return super().fillable() if self._direct else 0

    def _come(self) -> bool:
        if self._direct:
            return True
        if not self._found and not self._reads:
            self._reads = True
            if not self._thread.is_alive():
                self._thread.start()
            self._asked.release()
        return bool(self._found)

    def _read(self) -> Captured | None:
        if self._direct:
            return super()._read()
        self._reads = False
        found = self._found.pop()
        if isinstance(found, BaseException):
            raise found
        return found

    def _read_on(self) -> None:
        while self._asked.acquire() and not self._closing:
            try:
                if self.reader.fills:
                    self._direct = True
                    os.eventfd_write(self._bell, 1)
                    return
                self._found.append(self.reader.read())
            except BaseException as error:  # handed to the chain, which reports it
                self._found.append(error)
            if not self._closing:
                os.eventfd_write(self._bell, 1)
        self.reader.close()

    def close(self) -> None:
        """A read that does not end is left behind, with its thread: nothing can end it from outside."""
        self._closing = True
        if not self._thread.is_alive():
            super().close()
        else:
            with contextlib.suppress(RuntimeError):
                self._asked.release()
            threading.Thread(target=self.reader.stop, name=f"stop-{self.stream.name}", daemon=True).start()
            self._thread.join(PATIENCE_S)
        if not self._thread.is_alive():
            os.close(self._bell)
