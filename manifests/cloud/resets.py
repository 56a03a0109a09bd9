"""Back to the factory state: one device at once, many only when a second person agrees within ten minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from manifests.cloud import edits
from manifests.cloud.audit import record
from manifests.cloud.desire import Issued, Sign, issue, name_of
from manifests.cloud.errors import Forbidden, Refusal, Unknown, Wrong
from manifests.cloud.inventory import chunks
from manifests.cloud.people import Person
from manifests.cloud.tables import desired, devices, resets

AGREE_S = 600.0
SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Asked:
    """A reset that waits for a second person."""

    id: int
    devices: int
    expires: float


def reset(connection: Connection, sign: Sign, person: Person, ids: Sequence[str], reason: str) -> list[Issued] | Asked:
    """Resets one device, or no more than 1 % of each cohort, at once; asks a second person for more. Raises Forbidden, Wrong.

    Resets of the last ten minutes count, whoever asked for them and in whichever cohort: many small ones are a large one.
    """
    person.must_be("operator")
    if not reason.strip():
        raise Wrong("a reset needs a reason: it is kept with it")
    if not ids:
        raise Wrong("a reset needs a device")
    now = time.time()
    if not _large(connection, ids, now):
        return _do(connection, sign, person, ids, reason)
    expires = now + AGREE_S
    row = {"devices": json.dumps(list(ids)), "reason": reason, "by": person.name, "at": now, "expires": expires, "approved_by": None}
    number = connection.execute(insert(resets).values(**row)).inserted_primary_key
    assert number is not None
    record(connection, person.name, "reset.ask", str(number[0]), reason=reason, devices=len(ids))
    return Asked(int(number[0]), len(ids), expires)


def agree(connection: Connection, sign: Sign, person: Person, number: int) -> list[Issued]:
    """A second person, an approver, agrees. Raises Forbidden, Unknown, Refusal."""
    person.must_be("approver")
    row = connection.execute(select(resets).where(resets.c.id == number)).first()
    if row is None:
        raise Unknown(f"there is no reset {number} that waits")
    if row.by == person.name:
        raise Forbidden(f"reset {number} was asked for by {row.by}: expected a second person")
    if row.approved_by is not None:
        raise Refusal(f"reset {number} was agreed to by {row.approved_by} already")
    if row.expires < time.time():
        raise Refusal(f"reset {number} has expired: ask for it again")
    connection.execute(update(resets).where(resets.c.id == number).values(approved_by=person.name))
    record(connection, person.name, "reset.agree", str(number), asked_by=row.by)
    return _do(connection, sign, person, json.loads(row.devices), f"{row.reason} (asked for by {row.by})")


def waiting(connection: Connection) -> list[dict[str, Any]]:
    """Resets that a second person may still agree to."""
    rows = connection.execute(select(resets).where(resets.c.approved_by.is_(None), resets.c.expires >= time.time())).mappings()
    return [{**row, "devices": [name_of(connection, device) for device in json.loads(row["devices"])[:100]]} for row in rows]


def _do(connection: Connection, sign: Sign, person: Person, ids: Sequence[str], reason: str) -> list[Issued]:
    target = name_of(connection, ids[0]) if len(ids) == 1 else f"{len(ids)} devices"
    return issue(connection, sign, person, "reset", ids, edits.reset, reason=reason, target=target)


def _large(connection: Connection, ids: Sequence[str], now: float) -> bool:
    """Whether these, with those reset of late, are more than one device, and more than 1 % of one of their cohorts."""
    together: dict[str, set[str]] = {}
    for part in chunks(ids):
        for row in connection.execute(select(devices.c.id, devices.c.cohort).where(devices.c.id.in_(part))):
            together.setdefault(row.cohort, set()).add(row.id)
    asked = list(together)
    query = (
        select(devices.c.id, devices.c.cohort, desired.c.document)
        .join(desired, desired.c.device == devices.c.id)
        .where(desired.c.issued >= now - AGREE_S, desired.c.document.contains('"hold":true'))
    )
    for recent in connection.execute(query):
        if json.loads(recent.document)["hold"]:
            together.setdefault(recent.cohort, set()).add(recent.id)
    if sum(map(len, together.values())) <= 1:
        return False
    there = select(func.count()).select_from(devices).where(devices.c.state == "approved")
    sizes = {name: connection.execute(there.where(devices.c.cohort == name)).scalar() or 0 for name in asked}
    return any(len(together[name]) > SHARE * size for name, size in sizes.items())
