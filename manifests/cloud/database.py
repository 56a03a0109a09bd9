"""The database: SQLite in a folder, or PostgreSQL by a URL, brought to the newest schema."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text

MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One database. Writers take turns: SQLite has one at a time anyway, and what is audited is chained."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url, **({} if url.startswith("sqlite") else {"pool_size": 10, "pool_pre_ping": True}))
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._turn = threading.RLock()
        if self.sqlite:
            event.listen(self.engine, "connect", _pragmas)
            event.listen(self.engine, "begin", _begin)

    def upgrade(self) -> None:
        """Creates the tables, or changes them to what this version expects."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it or nothing."""
        with self._turn, self.engine.begin() as connection:
            if not self.sqlite:
                # Several servers may share a PostgreSQL; the audit chain has one writer at a time.
                connection.execute(text("SELECT pg_advisory_xact_lock(4147)"))
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def sqlite_url(folder: Path) -> str:
    """The database of a server's folder."""
    return f"sqlite:///{folder.absolute() / 'cloud.db'}"


def upsert(connection: Connection, table: Any, rows: list[dict[str, Any]], key: str = "device") -> None:
    """Inserts rows, replacing those with the same key."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = insert(table)
    changed = {name: statement.excluded[name] for name in rows[0] if name != key}
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=changed), rows)


def _pragmas(connection: Any, _record: Any) -> None:
    """Write-ahead log, every commit on disk, foreign keys; SQLAlchemy, not the driver, begins transactions."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
