"""A disk without room."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from manifests.store.effects import Effects


class Full(Effects):
    """A disk that is full from the nth call on that needs space, or (`once`) for that call alone."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.once = False
        self.met = False

    def spend(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.met = True
                self.left = None if self.once else self.left
                raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, path: Path, mode: int = 0o600) -> None:
        self.spend()
        super().create(path, mode)

    def touch(self, path: Path) -> None:
        if not path.exists():
            self.spend()
        super().touch(path)

    def reserve(self, path: Path, size: int) -> None:
        self.spend()
        super().reserve(path, size)

    def write(self, path: Path, data: bytes, offset: int) -> None:
        self.spend()
        super().write(path, data, offset)

    def mkdir(self, path: Path, mode: int = 0o755) -> None:
        if not path.is_dir():
            self.spend()
        super().mkdir(path, mode)

    def link(self, old: Path, new: Path) -> None:
        self.spend()
        super().link(old, new)

    def commit(self, connection: sqlite3.Connection) -> None:
        try:
            self.spend()
        except OSError:
            raise sqlite_full() from None
        super().commit(connection)

    def copy(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        try:
            self.spend()
        except OSError:
            raise sqlite_full() from None
        super().copy(source, target)


def sqlite_full() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error
