"""Rollouts: a change goes to a few devices of a cohort first, then to more, as long as they report that it works."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, select, update

from manifests.cloud import participants as taking_part
from manifests.cloud.audit import record
from manifests.cloud.desire import Change, Sign, issue, name_of
from manifests.cloud.edits import Edit
from manifests.cloud.errors import Refusal, Unknown, Wrong
from manifests.cloud.inventory import ONLINE_S, chunks, cohort, online
from manifests.cloud.people import Person
from manifests.cloud.tables import desired, devices, participants, rollouts, transitions
from manifests.schema.common import Name, Strict
from manifests.sync.desired import Desired, Shadow
from manifests.sync.reported import Transition

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Devices that get a new state in one transaction: messages of others are not kept waiting."""

MOST_SAID = 300
"""Letters of a device's own words that a rollout repeats."""

Share = Annotated[float, Field(ge=0, le=1)]
Step = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$|^(100|[1-9]?[0-9](\.[0-9]{1,3})?)%$")]


class Spec(Strict):
    """What goes to whom, and when it goes on. `stages` are cumulative: `2` devices, then `10%` of the cohort, then `100%`."""

    cohort: Name
    verb: Literal["download", "reload"] = "reload"
    item: Annotated[str, Field(max_length=160)]
    all: bool = False
    """Leave out devices on which a business refuses the model."""
    stages: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20)] = ("1%", "10%", "100%")
    success: Share = 0.95
    """Share of those that have answered that must be done before the next stage begins."""
    abort: Share = 0.1
    """More failures than this share, and all that got it go back."""
    minimum: Annotated[int, Field(ge=1)] = 5
    """So many must have answered before failures are judged, or all of a smaller stage."""
    deadline_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 1800.0
    """A device that has not answered by then has failed, or is left out where it is offline."""
    probation_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    """How long it must prove itself on each device; None: as long as the device's last change."""
    shadow: Shadow | None = None
    """What it must show beside what runs on each device, before that one switches."""


@dataclass(frozen=True, slots=True)
class Tools:
    """How a rollout changes devices: `plan` makes the change of a spec from what the library holds now, `base` one that changes nothing."""

    sign: Sign
    plan: Callable[[Connection, Spec, Sequence[str]], Change]
    base: Callable[[Connection, Sequence[str]], Change]


def create(connection: Connection, person: Person, spec: Spec) -> int:
    """Raises Unknown, Refusal, Wrong."""
    ids = cohort(connection, spec.cohort)
    sizes = [wanted_by(step, len(ids)) for step in spec.stages]
    if sizes != sorted(sizes):
        raise Wrong(f"stages: expected cumulative sizes that grow, got {', '.join(spec.stages)}, which is {sizes} of {len(ids)} devices")
    busy = connection.execute(
        select(rollouts.c.id).where(rollouts.c.cohort == spec.cohort, rollouts.c.state.in_(("running", "paused", "aborting")))
    ).scalar()
    if busy is not None:
        raise Refusal(f"rollout {busy} of cohort {spec.cohort} is not finished: expected it to be done, or aborted")
    row = {
        "cohort": spec.cohort,
        "spec": spec.model_dump_json(),
        "state": "running",
        "stage": 0,
        "why": "",
        "by": person.name,
        "created": time.time(),
    }
    key = connection.execute(insert(rollouts).values(**row)).inserted_primary_key
    assert key is not None
    number = int(key[0])
    taking_part.draw(connection, number, ids)
    record(connection, person.name, "rollout.create", str(number), **spec.model_dump(mode="json"))
    return number


def wanted_by(step: str, devices_in_all: int) -> int:
    """How many devices a stage has, with those before it."""
    if step.endswith("%"):
        return min(devices_in_all, math.ceil(float(step[:-1]) / 100 * devices_in_all))
    return min(devices_in_all, int(step))


def find(connection: Connection, number: int) -> Row[Any]:
    """Raises Unknown."""
    row = connection.execute(select(rollouts).where(rollouts.c.id == number)).first()
    if row is None:
        raise Unknown(f"there is no rollout {number}")
    return row


def show(connection: Connection, number: int) -> dict[str, Any]:
    """How it stands. Raises Unknown."""
    row = find(connection, number)
    shown = {name: value for name, value in row._mapping.items() if name not in ("reached", "looked")}
    spec = json.loads(row.spec)
    return {
        **shown,
        "stage": min(row.stage, len(spec["stages"]) - 1),
        "spec": spec,
        "devices": dict(taking_part.counts(connection, number)),
        "failed": [name_of(connection, device) for device in taking_part.in_state(connection, number, "failed", 20)],
    }


def turn(connection: Connection, person: Person, number: int, action: Literal["pause", "resume", "abort"]) -> None:
    """A person decides. Resuming after a stage that fell short accepts it. Raises Refusal, Unknown."""
    row = find(connection, number)
    allowed = {"pause": ("running",), "resume": ("paused",), "abort": ("running", "paused")}[action]
    if row.state not in allowed:
        raise Refusal(f"rollout {number} is {row.state}: expected {' or '.join(allowed)}")
    values: dict[str, Any] = {
        "pause": {"state": "paused", "why": f"paused by {person.name}"},
        "resume": {"state": "running", "why": "", "reached": 0, "stage": row.stage + (1 if row.why.startswith("stage") else 0)},
        "abort": {"state": "aborting", "why": f"aborted by {person.name}"},
    }[action]
    connection.execute(update(rollouts).where(rollouts.c.id == number).values(**values))
    record(connection, person.name, f"rollout.{action}", str(number))


def heard(connection: Connection, steps: Sequence[tuple[str, Transition]]) -> None:
    """Devices have said how it stands with a revision."""
    states: dict[str, taking_part.State] = {"done": "done", "failed": "failed", "refused": "failed", "superseded": "skipped"}
    taking_part.answered(connection, [(device, states[step.outcome], step.revision) for device, step in steps if step.outcome in states])


def advance(connection: Connection, tools: Tools, now: float | None = None) -> list[str]:
    """Takes every rollout one step on. Returns the devices that have a newer desired state; call again while there are any.

    One that cannot be taken on stays as it was, and keeps no other from going on.
    """
    now = time.time() if now is None else now
    changed: list[str] = []
    for row in connection.execute(select(rollouts).where(rollouts.c.state.in_(("running", "aborting"))).order_by(rollouts.c.id)).all():
        try:
            with connection.begin_nested():
                spec = Spec.model_validate_json(row.spec)
                changed += _return(connection, tools, row) if row.state == "aborting" else _go_on(connection, tools, row, spec, now)
        except Exception:
            if connection.invalidated:
                raise
            log.exception("rollout %s cannot be taken on; it is tried again", row.id)
    return changed


def _go_on(connection: Connection, tools: Tools, row: Row[Any], spec: Spec, now: float) -> list[str]:
    _time_out(connection, row.id, now, now - spec.deadline_s)
    counts = taking_part.counts(connection, row.id)
    done, failed, sent = counts["done"], counts["failed"], counts["sent"]
    answered = done + failed
    if failed > spec.abort * answered and answered >= (min(spec.minimum, answered + sent) if sent else 1):
        why = f"{failed} of {answered} devices that answered have failed: more than {spec.abort:.0%}"
        _end(connection, row.id, "aborting", why + _reason(connection, row.id))
        return []
    total = sum(counts.values())
    accepted = row.stage == len(spec.stages)  # a person has, after the last stage fell short
    missing = wanted_by(spec.stages[-1 if accepted else row.stage], total) - (total - counts["waiting"])
    if missing > 0:
        changed = _send(connection, tools, row, spec, total, missing, now)
        if changed is not None:
            return changed
    if sent:
        return []
    last = row.stage + 1 >= len(spec.stages)
    if answered and done < spec.success * answered and not accepted:
        _end(connection, row.id, "paused", f"stage {row.stage + 1}: {done} of {answered} are done, less than {spec.success:.0%}")
        return []
    if not answered and not last:
        return []  # nobody is online: nothing is known yet
    if not last:
        connection.execute(update(rollouts).where(rollouts.c.id == row.id).values(stage=row.stage + 1, reached=0))
        return []
    return _finish(connection, tools, row, spec, now)


def _finish(connection: Connection, tools: Tools, row: Row[Any], spec: Spec, now: float) -> list[str]:
    """What has proven itself also goes to those who were not there; they get it when they come back."""
    late = taking_part.unsent(connection, row.id, "offline", AT_ONCE)
    if late:
        return _issue(connection, tools, row, spec, late, "offline", now)
    _end(connection, row.id, "done", "")
    return []


def _send(
    connection: Connection, tools: Tools, row: Row[Any], spec: Spec, total: int, missing: int, now: float
) -> list[str] | None:  # fmt: skip
    """Gives the next devices that are online the change; in the last stage the others are set apart. None where nobody is left."""
    chosen = taking_part.next_here(connection, row, total, min(missing, AT_ONCE), now - ONLINE_S, now)
    if chosen:
        return _issue(connection, tools, row, spec, chosen, "sent", now)
    if chosen is None and row.stage + 1 < len(spec.stages):
        return None
    if chosen is None:
        away = taking_part.unsent(connection, row.id, "waiting", min(missing, taking_part.MOST_LOOKED_AT))
        taking_part.mark(connection, row.id, away, "offline")
    return []


def _issue(
    connection: Connection, tools: Tools, row: Row[Any], spec: Spec, chosen: list[str], state: taking_part.State, now: float
) -> list[str]:  # fmt: skip
    refused: dict[str, str] = {}
    person, reason = Person(row.by, "operator"), f"rollout {row.id}"
    before = _revisions(connection, chosen)
    new = [device for device in chosen if not before[device]]
    if new:
        # What a device ran when nobody had wanted anything yet becomes a revision of its own, to which it can go back.
        issue(
            connection,
            tools.sign,
            person,
            "rollout.base",
            new,
            tools.base(connection, new),
            reason=reason,
            target=spec.item,
            refused=refused,
        )
        before = _revisions(connection, chosen)
    chosen = [device for device in chosen if device not in refused]
    change = tools.plan(connection, spec, chosen)
    issued = issue(connection, tools.sign, person, spec.verb, chosen, change, reason=reason, target=spec.item, refused=refused)
    taking_part.note_sent(connection, row, state, now, {each.device: (before[each.device], each.revision) for each in issued})
    taking_part.mark(connection, row.id, list(refused), "skipped")
    return [each.device for each in issued]


def _revisions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in chunks(ids):
        found.update(
            (row.id, row.revision) for row in connection.execute(select(devices.c.id, devices.c.revision).where(devices.c.id.in_(part)))
        )
    return found


def _time_out(connection: Connection, number: int, now: float, before: float) -> None:
    """Those that did not answer: failed where they are online, left out where not."""
    late = taking_part.silent(connection, number, before)
    here = online(connection, late, now)
    taking_part.mark(connection, number, [device for device in late if device in here], "failed")
    taking_part.mark(connection, number, [device for device in late if device not in here], "offline")


def _return(connection: Connection, tools: Tools, row: Row[Any]) -> list[str]:
    """Gives those that got the change what they had before, as a new revision; others have changed since, and are left alone."""
    got = taking_part.changed(connection, row.id, AT_ONCE)
    if not got:
        _end(connection, row.id, "aborted", row.why)
        return []
    back = {each.device: each.before for each in got if each.now == each.revision}
    old: dict[str, Desired] = {}
    for device, revision in back.items():
        text = connection.execute(select(desired.c.document).where(desired.c.device == device, desired.c.revision == revision)).scalar()
        if text is not None:
            old[device] = Desired.model_validate_json(text)

    def undo(present: Desired) -> Edit:
        content = old.get(present.device)
        update: dict[str, Any] = {"active": content.active, "staged": content.staged} if content else {"active": present.active}
        return Edit(present.model_copy(update=update | {"shadow": None}), (), {})

    known = [device for device in back if device in old]
    if known:
        issue(
            connection,
            tools.sign,
            Person(row.by, "operator"),
            "rollout.return",
            known,
            undo,
            reason=row.why,
            target=str(row.id),
            refused={},
        )
    taking_part.mark(connection, row.id, [each.device for each in got], "returned")
    return known


def _end(connection: Connection, number: int, state: str, why: str) -> None:
    connection.execute(update(rollouts).where(rollouts.c.id == number).values(state=state, why=why))
    record(connection, "cloud", f"rollout.{state}", str(number), why=why)


def _reason(connection: Connection, number: int) -> str:
    """What the device said that failed last; empty where none said anything."""
    query = (
        select(transitions.c.device, transitions.c.detail)
        .join(participants, (participants.c.device == transitions.c.device) & (participants.c.revision == transitions.c.revision))
        .where(participants.c.rollout == number, participants.c.state == "failed", transitions.c.detail != "")
        .order_by(transitions.c.id.desc())
    )
    said = connection.execute(query.limit(1)).first()
    return "" if said is None else f"; {name_of(connection, said.device)}: {said.detail[:MOST_SAID]}"
