"""Which devices there are, how they are, and what happened to them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from manifests.cloud.audit import record
from manifests.cloud.database import upsert
from manifests.cloud.errors import Refusal, Unknown, Wrong
from manifests.cloud.tables import desired, devices, seen, shadows, transitions
from manifests.errors import did_you_mean
from manifests.sync.desired import Desired
from manifests.sync.reported import Reported, Transition

ONLINE_S = 180.0
"""A device that was heard of within this time is online: three heartbeats."""
KEPT = 10_000
"""Transitions of one device that are kept: nobody reads more, and a device that says what it likes must not fill the disk."""
MOST_EVIDENCE = 64 << 10
"""Characters of one transition's evidence that are kept."""
IN = 500
"""Values in one SQL `IN`."""


def chunks(values: Iterable[str]) -> Iterable[list[str]]:
    """Few enough at a time for one SQL statement."""
    listed = list(values)
    return (listed[start : start + IN] for start in range(0, len(listed), IN))


def find(connection: Connection, device: str) -> Row[Any]:
    """A device by its name, its key, or the first (at least 8) digits of it. Raises Unknown, Wrong."""
    device = device.replace("\0", "")  # which PostgreSQL cannot be asked for
    query = select(devices)
    rows = connection.execute(query.where((devices.c.name == device) | (devices.c.id == device)).limit(2)).all()
    if not rows and len(device) >= 8 and set(device) <= set("0123456789abcdef"):
        rows = connection.execute(query.where(devices.c.id.startswith(device)).limit(2)).all()
    if len(rows) > 1:
        raise Wrong(f"device {device!r} means several: give more of its key")
    if not rows:
        names = connection.execute(select(devices.c.name).limit(10_000)).scalars()
        raise Unknown(f"there is no device {device!r}{' - ' + hint if (hint := did_you_mean(device, names)) else ''}")
    return rows[0]


def approved(connection: Connection, name: str) -> str:
    """The key of a device that is let in. Raises Unknown, Refusal."""
    row = find(connection, name)
    if row.state != "approved":
        raise Refusal(f"device {row.name} is {row.state}: expected one that is approved")
    return str(row.id)


def cohort(connection: Connection, name: str) -> list[str]:
    """The approved devices of a cohort. Raises Unknown."""
    found = connection.execute(select(devices.c.id).where(devices.c.cohort == name, devices.c.state == "approved").order_by(devices.c.id))
    ids = list(found.scalars())
    if not ids:
        names = connection.execute(select(devices.c.cohort).distinct()).scalars()
        raise Unknown(f"cohort {name!r} has no approved device; {did_you_mean(name, names)}".rstrip("; "))
    return ids


def online(connection: Connection, ids: Sequence[str], now: float | None = None) -> set[str]:
    """Those heard of a short while ago."""
    since = (time.time() if now is None else now) - ONLINE_S
    found: set[str] = set()
    for part in chunks(ids):
        found.update(connection.execute(select(seen.c.device).where(seen.c.device.in_(part), seen.c.at >= since)).scalars())
    return found


def wanted(connection: Connection, ids: Sequence[str]) -> dict[str, Desired]:
    """The newest desired state of each; an empty one of revision 0 where there is none."""
    from datetime import UTC, datetime

    found = {each: Desired(device=each, revision=0, issued=datetime.fromtimestamp(0, UTC)) for each in ids}
    for part in chunks(ids):
        query = select(desired.c.document).join(devices, (devices.c.id == desired.c.device) & (devices.c.revision == desired.c.revision))
        for document in connection.execute(query.where(devices.c.id.in_(part))).scalars():
            state = Desired.model_validate_json(document)
            found[state.device] = state
    return found


def reported(connection: Connection, ids: Sequence[str]) -> dict[str, Reported]:
    """What each said last of itself, where it has."""
    found = {}
    for part in chunks(ids):
        for row in connection.execute(select(shadows.c.device, shadows.c.reported).where(shadows.c.device.in_(part))):
            found[row.device] = Reported.model_validate_json(row.reported)
    return found


def note_shadows(connection: Connection, states: Mapping[str, Reported], now: float) -> None:
    """What devices said last of themselves."""
    rows = [{"device": device, "digest": state.digest, "reported": state.model_dump_json(), "at": now} for device, state in states.items()]
    upsert(connection, shadows, rows)


def note_transitions(connection: Connection, rows: Sequence[tuple[str, Transition]], now: float) -> None:
    """Appends to the history."""
    if rows:
        connection.execute(
            insert(transitions),
            [
                {
                    "device": device,
                    **step.model_dump(exclude={"evidence", "at", "detail"}),
                    "detail": step.detail.replace("\0", ""),
                    "evidence": _kept(step.evidence),
                    "at": step.at.timestamp(),
                    "received": now,
                }
                for device, step in rows
            ],
        )


def _kept(evidence: Mapping[str, Any]) -> str:
    said = json.dumps(evidence)
    return said if len(said) <= MOST_EVIDENCE else json.dumps({"left_out": f"{len(said)} characters: expected at most {MOST_EVIDENCE}"})


def prune(connection: Connection, device: str) -> None:
    """Forgets what is older than the newest KEPT transitions of a device."""
    of_device = transitions.c.device == device
    last = connection.execute(select(transitions.c.id).where(of_device).order_by(transitions.c.id.desc()).offset(KEPT).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(transitions).where(of_device, transitions.c.id <= last))


def note_seen(connection: Connection, heard: dict[str, float]) -> None:
    """Many at once."""
    upsert(connection, seen, [{"device": device, "at": at} for device, at in heard.items()])


def history(connection: Connection, device: str, limit: int = 100) -> list[dict[str, Any]]:
    """What happened, the newest first."""
    query = select(transitions).where(transitions.c.device == device).order_by(transitions.c.id.desc()).limit(limit)
    return [{**row, "evidence": json.loads(row["evidence"])} for row in connection.execute(query).mappings()]


def query(connection: Connection, name: str) -> dict[str, Any]:
    """All that is known of one device. Raises Unknown."""
    row = find(connection, name)
    state = reported(connection, [row.id]).get(row.id)
    want = wanted(connection, [row.id])[row.id]
    last = connection.execute(select(seen.c.at).where(seen.c.device == row.id)).scalar()
    return {
        "id": row.id,
        "name": row.name,
        "cohort": row.cohort,
        "state": row.state,
        "about": json.loads(row.about),
        "online": last is not None and last >= time.time() - ONLINE_S,
        "last_seen": last,
        "desired": want.model_dump(mode="json") if want.revision else None,
        "reported": state.model_dump(mode="json") if state else None,
        "history": history(connection, row.id, 10),
    }


def listing(
    connection: Connection, *, cohort: str | None = None, state: str | None = None, after: str = "", limit: int = 1000
) -> list[dict[str, Any]]:
    """Devices in the order of their names, with what they are to run and when they were heard of."""
    query = (
        select(devices.c.id, devices.c.name, devices.c.cohort, devices.c.state, devices.c.revision, seen.c.at.label("last_seen"))
        .join(seen, seen.c.device == devices.c.id, isouter=True)
        .where(devices.c.name > after)
        .order_by(devices.c.name)
        .limit(limit)
    )
    if cohort is not None:
        query = query.where(devices.c.cohort == cohort)
    if state is not None:
        query = query.where(devices.c.state == state)
    return [dict(row) for row in connection.execute(query).mappings()]


def set_state(connection: Connection, by: str, name: str, state: str) -> str:
    """Lets a device in, or shuts it out. What is revoked stays revoked: its key may be in other hands. Raises Unknown, Refusal."""
    row = find(connection, name)
    if row.state == "revoked":
        raise Refusal(f"device {row.name} was revoked: enrol it with a new key")
    connection.execute(update(devices).where(devices.c.id == row.id).values(state=state))
    if state == "revoked":
        connection.execute(delete(seen).where(seen.c.device == row.id))
    record(connection, by, f"device.{'approve' if state == 'approved' else 'revoke'}", row.name, key=row.id)
    return str(row.id)
