"""Changing what devices should run: from an edit to a signed revision of every device it concerns, in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, update

from manifests.cloud.audit import record
from manifests.cloud.edits import Edit
from manifests.cloud.errors import Refusal
from manifests.cloud.inventory import reported, wanted
from manifests.cloud.people import ROLES, Person
from manifests.cloud.tables import desired, devices
from manifests.sync.desired import Desired

Sign = Callable[[Desired], str]
"""Signs a desired state with the online key; gives what devices verify."""

Change = Callable[[Desired], Edit]


@dataclass(frozen=True, slots=True)
class Issued:
    """What one device got."""

    device: str
    revision: int
    touched: tuple[str, ...]
    kept: dict[str, str]


def issue(
    connection: Connection,
    sign: Sign,
    person: Person,
    action: str,
    ids: Sequence[str],
    change: Change,
    *,
    reason: str = "",
    target: str = "",
    refused: dict[str, str] | None = None,
) -> list[Issued]:
    """Edits the desired state of these devices. A device that a reset holds is changed by an approver alone.

    Raises Refusal, and nothing has changed; or notes in `refused`, where that is given, which devices it left out and why.
    """
    present, told = wanted(connection, ids), reported(connection, ids)
    issued, rows = [], []
    now = datetime.now(UTC)
    for device in ids:
        before = present[device]
        try:
            held = before.hold or (device in told and told[device].hold)
            if held and action != "reset" and ROLES.index(person.role) < ROLES.index("approver"):
                name = name_of(connection, device)
                raise Refusal(f"device {name} is held since its reset: expected an approver, got {person.role} {person.name}")
            edit = change(before)
        except Refusal as refusal:
            if refused is None:
                raise
            refused[device] = refusal.reason
            continue
        # A device that was given signed files meanwhile may be further on than the cloud.
        newest = max(before.revision, told[device].revision if device in told else 0)
        after = edit.desired.model_copy(update={"revision": newest + 1, "issued": now})
        signed = sign(after)
        rows.append(
            {
                "device": device,
                "revision": after.revision,
                "document": after.model_dump_json(),
                "signed": signed,
                "digest": hashlib.sha256(signed.encode()).hexdigest(),
                "issued": now.timestamp(),
                "by": person.name,
                "reason": reason,
            }
        )
        issued.append(Issued(device, after.revision, edit.touched, dict(edit.kept)))
    if rows:
        connection.execute(insert(desired), rows)
        for row in rows:
            connection.execute(update(devices).where(devices.c.id == row["device"]).values(revision=row["revision"]))
        record(
            connection,
            person.name,
            action,
            target,
            reason=reason,
            devices=len(rows),
            revisions={each.device[:16]: each.revision for each in issued[:16]},
        )
    return issued


def name_of(connection: Connection, device: str) -> str:
    """What people call it."""
    return str(connection.execute(select(devices.c.name).where(devices.c.id == device)).scalar() or device[:12])
