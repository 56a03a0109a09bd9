"""What the cloud is to learn: rows that stay until it has acknowledged them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manifests.bundle.canonical import encode
from manifests.store.store import Store

KEPT = 1_000
"""Rows that an unreachable cloud may leave waiting before steps in between go, the oldest first."""
KEPT_FINAL = 10_000
"""The same of rows that say how something ended."""


@dataclass(frozen=True, slots=True)
class Report:
    """One row. `seq` rises by one for each row ever written, so that the cloud sees gaps and repeats."""

    seq: int
    body: Mapping[str, Any]


def post(store: Store, body: Mapping[str, Any], *, final: bool = False) -> None:
    """Adds a row, inside a transaction."""
    store.database.change("INSERT INTO outbox (final, body) VALUES (?, ?)", int(final), encode(body).decode())
    for which, kept in ((0, KEPT), (1, KEPT_FINAL)):
        store.database.change(
            "DELETE FROM outbox WHERE final = ? AND seq <= (SELECT seq FROM outbox WHERE final = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
            which, which, kept,
        )  # fmt: skip


def waiting(store: Store, limit: int = 100) -> list[Report]:
    """The oldest rows that nobody has acknowledged."""
    return [Report(seq, json.loads(body)) for seq, body in store.database.rows("SELECT seq, body FROM outbox ORDER BY seq LIMIT ?", limit)]


def acknowledge(store: Store, seq: int) -> None:
    """The cloud has everything up to this row. Raises sqlite3.Error."""
    with store.transaction():
        store.database.change("DELETE FROM outbox WHERE seq <= ?", seq)
