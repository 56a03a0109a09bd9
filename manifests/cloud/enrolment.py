"""How a device is let in: an invitation that works once, then a person who agrees."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from sqlalchemy import Connection, insert, select, update

from manifests.cloud.audit import record
from manifests.cloud.errors import Refusal
from manifests.cloud.people import digest
from manifests.cloud.tables import devices, invitations

LONGEST_S = 30 * 86_400.0


def invite(connection: Connection, by: str, name: str, cohort: str, lasts_s: float) -> str:
    """A token for one device that will be called `name`; it is shown once. Raises Refusal."""
    now = time.time()
    if connection.execute(select(devices.c.id).where(devices.c.name == name)).first():
        raise Refusal(f"there is a device {name!r} already: choose another name")
    token = secrets.token_urlsafe(32)
    expires = now + min(lasts_s, LONGEST_S)
    connection.execute(insert(invitations).values(hash=digest(token), name=name, cohort=cohort, expires=expires))
    record(connection, by, "device.invite", name, cohort=cohort, expires=expires)
    return token


def open_until(connection: Connection) -> float:
    """When the last invitation that is not spent expires; 0 where there is none."""
    query = select(invitations.c.expires).where(invitations.c.spent_by.is_(None)).order_by(invitations.c.expires.desc()).limit(1)
    return float(connection.execute(query).scalar() or 0.0)


def spend(connection: Connection, key: str, token: str, about: dict[str, Any]) -> tuple[str, str]:
    """A device asks to be let in: its name, and `pending`. The same key may ask again. Raises Refusal."""
    row = connection.execute(select(invitations).where(invitations.c.hash == digest(token))).first()
    if row is None or row.spent_by not in {None, key} or (row.spent_by is None and row.expires < time.time()):
        raise Refusal("this enrolment token is unknown, spent or expired: ask for a new one")
    there = connection.execute(select(devices.c.state, devices.c.name).where(devices.c.id == key)).first()
    if there is not None:
        return str(there.name), str(there.state)
    if connection.execute(select(devices.c.id).where(devices.c.name == row.name)).first():
        raise Refusal(f"there is a device {row.name!r} already: ask for a token for another name")
    described = json.dumps(about)[:16_384] if len(json.dumps(about)) <= 16_384 else "{}"
    connection.execute(
        insert(devices).values(id=key, name=row.name, cohort=row.cohort, state="pending", about=described, enrolled=time.time(), revision=0)
    )
    connection.execute(update(invitations).where(invitations.c.hash == row.hash).values(spent_by=key))
    record(connection, f"device:{row.name}"[:64], "device.enrol", row.name, key=key)
    return str(row.name), "pending"
