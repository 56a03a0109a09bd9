"""The audit log: every mutation, who did it and why; appended to, never changed, each row sealed with those before it."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from sqlalchemy import Connection, insert, select

from manifests.bundle.canonical import encode
from manifests.cloud.tables import audit

GENESIS = "0" * 64


def record(connection: Connection, person: str, action: str, target: str, **detail: Any) -> None:
    """Appends one row, in the transaction of the mutation itself."""
    last = connection.execute(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)).first()
    row = {
        "id": (last.id if last else 0) + 1,
        "at": round(time.time(), 3),
        "person": person,
        "action": action,
        "target": target[:256],
        "detail": json.dumps(detail, sort_keys=True),
    }
    connection.execute(insert(audit).values(**row, hash=_seal(last.hash if last else GENESIS, row)))


def first_broken(connection: Connection) -> int | None:
    """The number of the first row that is not what was written, or that is missing; None where the log is whole.

    That its end was cut off shows only against a hash kept elsewhere.
    """
    before = GENESIS
    for number, row in enumerate(connection.execute(select(audit).order_by(audit.c.id)).mappings(), 1):
        fields = {name: row[name] for name in ("id", "at", "person", "action", "target", "detail")}
        if row["id"] != number or row["hash"] != _seal(before, fields):
            return number
        before = row["hash"]
    return None


def entries(connection: Connection, limit: int = 100, before: int | None = None) -> list[dict[str, Any]]:
    """The newest rows first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    rows = connection.execute(query if before is None else query.where(audit.c.id < before)).mappings()
    return [{**row, "detail": json.loads(row["detail"])} for row in rows]


def _seal(before: str, row: dict[str, Any]) -> str:
    return hashlib.sha256(before.encode() + encode(row)).hexdigest()
