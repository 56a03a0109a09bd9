"""The only truth: one SQLite database. What the folders hold is either named here or nothing at all.

Where the disk is full it is carried on in memory, and written back as one transaction when there is room: what runs needs no disk.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from manifests.store.effects import Effects

NAME = "state.db"
VERSION = 1
KEPT_BROKEN = 3
"""Databases that were set aside, for whoever wants to know why."""

PASSING = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)
"""Errors that pass: what the database says is still there."""
BAD_READS = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
"""Of the errors of reading and writing, those that show that it is not; on a full disk there are others, as it is opened too."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE blob (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE partial (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE generation (
    id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, digest TEXT NOT NULL, desired BLOB NOT NULL, made REAL NOT NULL
);
CREATE TABLE role (name TEXT PRIMARY KEY CHECK (name IN ('active', 'previous', 'staged', 'factory')), generation INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE wanted (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, digest TEXT NOT NULL, envelope BLOB NOT NULL,
    source TEXT NOT NULL);
CREATE TABLE machine (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE failure (digest TEXT PRIMARY KEY, count INTEGER NOT NULL, retry REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, final INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE baseline (output TEXT NOT NULL, place INTEGER NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (output, place)) WITHOUT ROWID;
"""


class DatabaseBroken(Exception):
    """The database cannot be read; what it says is lost."""


class Database:
    """An open database; one thread uses it. Reads may come at any time, changes inside `transaction`."""

    def __init__(self, folder: Path, effects: Effects) -> None:
        self.path, self._effects = folder / NAME, effects
        self._depth = 0
        self.detached = False
        """Whether changes are made in memory alone just now."""
        try:
            self._connection = _connect(self.path)
            try:
                self._prepare()
            except sqlite3.Error as error:
                if not is_full(error) or not self._is_empty():
                    raise
                self._connection.close()
                self._connection, self.detached = _connect(":memory:"), True
                self._prepare()
        except sqlite3.DatabaseError as error:
            with contextlib.suppress(AttributeError, sqlite3.Error):
                self._connection.close()
            if not self._is_broken(error):
                raise
            raise DatabaseBroken(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows. Raises sqlite3.Error."""
        return self._connection.execute(statement, values).fetchall()

    def value(self, statement: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self._connection.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def change(self, statement: str, *values: Any) -> None:
        """One statement of a transaction."""
        assert self._depth, "changes stand inside a transaction"
        self._connection.execute(statement, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable when it ends. One inside another is part of it. Raises sqlite3.Error, with nothing changed."""
        if self._depth:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            if self.detached:
                self._connection.execute("COMMIT")
            else:
                self._effects.commit(self._connection)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0

    def detach(self) -> None:
        """Changes are made in memory alone from now on: the disk is full. Raises sqlite3.Error."""
        if not self.detached:
            memory = _connect(":memory:")
            self._connection.backup(memory)
            self._connection.close()
            self._connection, self.detached = memory, True

    def attach(self) -> bool:
        """Writes back what was changed in memory, whole or not at all; False while the disk has no room for it. Raises sqlite3.Error."""
        if not self.detached:
            return True
        disk = _connect(self.path)
        try:
            _durable(disk)
            self._effects.copy(self._connection, disk)
        except sqlite3.Error as error:
            disk.close()
            if not is_full(error):
                raise
            return False
        self._connection.close()
        self._connection, self.detached = disk, False
        return True

    def _is_empty(self) -> bool:
        """Whether nothing was ever written into it."""
        return not self._connection.execute("PRAGMA user_version").fetchone()[0]

    def _is_broken(self, error: sqlite3.DatabaseError) -> bool:
        """Whether this says something of the database: a disk that is full, or a lack of memory or descriptors, does not."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF == sqlite3.SQLITE_IOERR:
            return code in BAD_READS
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
            return not self.path.is_file()
        return code & 0xFF not in PASSING

    def _prepare(self) -> None:
        connection = self._connection
        if not self.detached:
            _durable(connection)
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self.transaction():
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"expected version {VERSION} of the database, got {version}")


def set_aside(folder: Path, effects: Effects) -> Path | None:
    """Moves a database out of the way, so that the next start begins with an empty one; None where there was none."""
    places = [folder / f"{NAME}.broken-{number}" for number in range(KEPT_BROKEN)]
    free = next((place for place in places if not place.exists()), places[-1])
    moved = None
    # The log goes first: an old log beside a new database would be taken for its own.
    for suffix in ("-wal", "-shm", ""):
        path = folder / f"{NAME}{suffix}"
        if path.exists():
            effects.rename(path, free.with_name(f"{free.name}{suffix}"))
            moved = free
    effects.sync_folder(folder)
    return moved


def is_full(error: BaseException) -> bool:
    """Whether this error says that the disk is full, or a quota used up."""
    if isinstance(error, sqlite3.Error):
        return cast("int", getattr(error, "sqlite_errorcode", 0)) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=5.0)


def _durable(connection: sqlite3.Connection) -> None:
    """A log that is synced. Its index is in memory (one process has the store open), so that reading takes no room on the disk."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise sqlite3.DatabaseError("expected a file system that SQLite's write-ahead log works on")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
