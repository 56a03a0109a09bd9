"""The devices of a rollout: in the order they were drawn, each in a state, and how many are in each.

Counts are kept as states change, and each step reads only the devices it is about: a rollout costs as much a device in a large fleet as in
a small one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from manifests.cloud.inventory import chunks
from manifests.cloud.tables import devices, participants, rollouts, seen, tallies

State = Literal["waiting", "offline", "sent", "done", "failed", "returned", "skipped"]
STATES: tuple[State, ...] = ("waiting", "offline", "sent", "done", "failed", "returned", "skipped")

PAGE = 500
"""Devices that are read at once."""
MOST_LOOKED_AT = 20 * PAGE
"""In one step: a step that only looks must not keep others waiting either."""
AGAIN_S = 50e-6
"""Times the devices: after so long it is looked anew whether those that were away are here. Looking takes a tenth of that."""


def draw(connection: Connection, number: int, ids: Iterable[str]) -> None:
    """These take part, in an order that nobody can foresee or choose."""
    drawn = sorted(ids, key=lambda device: hashlib.sha256(f"{number}.{device}".encode()).digest())
    empty = {"rollout": number, "stage": 0, "state": "waiting", "before": 0, "revision": 0, "sent": 0.0}
    connection.execute(insert(participants), [{**empty, "device": device, "place": place} for place, device in enumerate(drawn)])
    many = {"waiting": len(drawn)}
    connection.execute(insert(tallies), [{"rollout": number, "state": state, "devices": many.get(state, 0)} for state in STATES])


def counts(connection: Connection, number: int) -> Counter[str]:
    """How many are in each state."""
    query = select(tallies.c.state, tallies.c.devices).where(tallies.c.rollout == number, tallies.c.devices > 0)
    return Counter({row.state: row.devices for row in connection.execute(query)})


def next_here(connection: Connection, row: Row[Any], total: int, most: int, since: float, now: float) -> list[str] | None:
    """The next that wait and were heard of `since`, as they were drawn; those that are away are passed over.

    None when all have been looked at. They are looked at anew in the next stage, and after a while.
    """
    if row.reached >= total:
        if now < row.looked + AGAIN_S * total:
            return None
        reached = 0
    else:
        reached = row.reached
    found: list[str] = []
    ended = False
    for _ in range(MOST_LOOKED_AT // PAGE):
        page = connection.execute(
            select(participants.c.device, participants.c.place, seen.c.at)
            .join(seen, seen.c.device == participants.c.device, isouter=True)
            .where(_in(row.id, "waiting"), participants.c.sent == 0.0, participants.c.place >= reached)
            .order_by(participants.c.place)
            .limit(PAGE)
        ).all()
        for one in page:
            if len(found) == most:
                break
            reached = one.place + 1
            if one.at is not None and one.at >= since:
                found.append(one.device)
        ended = len(found) < most and len(page) < PAGE
        if ended or len(found) == most:
            break
    connection.execute(update(rollouts).where(rollouts.c.id == row.id).values(reached=total if ended else reached, looked=now))
    return found if found or not ended else None


def unsent(connection: Connection, number: int, state: Literal["waiting", "offline"], most: int) -> list[str]:
    """The first of these that nothing was sent to."""
    query = select(participants.c.device).where(_in(number, state), participants.c.sent == 0.0).order_by(participants.c.place)
    return list(connection.execute(query.limit(most)).scalars())


def silent(connection: Connection, number: int, before: float) -> list[str]:
    """Those that were sent something before then and have not answered."""
    return list(connection.execute(select(participants.c.device).where(_in(number, "sent"), participants.c.sent < before)).scalars())


def in_state(connection: Connection, number: int, state: State, most: int) -> list[str]:
    """Some of them."""
    return list(connection.execute(select(participants.c.device).where(_in(number, state)).limit(most)).scalars())


def changed(connection: Connection, number: int, most: int) -> Sequence[Any]:
    """Those that got the change and have not been given back what they had: device, `before`, `revision`, and which revision is wanted
    `now`.
    """
    query = select(participants.c.device, participants.c.before, participants.c.revision, devices.c.revision.label("now")).join(
        devices, devices.c.id == participants.c.device
    )
    got = participants.c.state.in_(("sent", "done", "failed", "offline"))
    return connection.execute(query.where(participants.c.rollout == number, got, participants.c.sent > 0.0).limit(most)).all()


def mark(connection: Connection, number: int, ids: Sequence[str], state: State) -> None:
    """From now on these are in that state."""
    moved: Counter[tuple[int, str]] = Counter()
    for part in chunks(ids):
        these = (participants.c.rollout == number, participants.c.device.in_(part))
        for before in connection.execute(select(participants.c.state).where(*these)).scalars():
            moved[number, before] -= 1
            moved[number, state] += 1
        connection.execute(update(participants).where(*these).values(state=state))
    _count(connection, moved)


def note_sent(connection: Connection, row: Row[Any], state: State, now: float, issued: Mapping[str, tuple[int, int]]) -> None:
    """Devices with the revision before and that of the change, which they get now."""
    if issued:
        mark(connection, row.id, list(issued), state)
        new: dict[str, Any] = {"before": bindparam("old"), "revision": bindparam("new")}
        rows = update(participants).where(participants.c.rollout == row.id, participants.c.device == bindparam("who"))
        values = [{"who": device, "old": before, "new": revision} for device, (before, revision) in issued.items()]
        connection.execute(rows.values(stage=row.stage, sent=now, **new), values)


def answered(connection: Connection, answers: Sequence[tuple[str, State, int]]) -> None:
    """Devices have said what became of a revision; 0: of the last one sent, which was refused unread.

    A failure may be made good by a later try, on the device's own account.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    states: dict[tuple[int, str], str] = {}
    opened = participants.c.state.in_(("sent", "offline", "failed"))
    for part in chunks({device for device, _, _ in answers}):
        query = select(participants.c.rollout, participants.c.device, participants.c.state, participants.c.revision)
        for row in connection.execute(query.where(participants.c.device.in_(part), opened)):
            found.setdefault(row.device, []).append((row.rollout, row.revision))
            states[row.rollout, row.device] = row.state
    before = dict(states)
    for device, state, revision in answers:
        for number, known in found.get(device, ()):
            stands = states[number, device]
            meant = known == revision if revision else stands == "sent"
            if meant and stands in (("sent", "offline", "failed") if state == "done" else ("sent", "offline")):
                states[number, device] = state
    moved: Counter[tuple[int, str]] = Counter()
    values = []
    for (number, device), state_now in states.items():
        if state_now != (old := before[number, device]):
            moved[number, old] -= 1
            moved[number, state_now] += 1
            values.append({"which": number, "who": device, "now": state_now})
    if values:
        rows = update(participants).where(participants.c.rollout == bindparam("which"), participants.c.device == bindparam("who"))
        connection.execute(rows.values(state=bindparam("now")), values)
        _count(connection, moved)


def _in(number: int, state: State) -> Any:
    return (participants.c.rollout == number) & (participants.c.state == state)


def _count(connection: Connection, moved: Mapping[tuple[int, str], int]) -> None:
    values = [{"which": number, "what": state, "more": more} for (number, state), more in moved.items() if more]
    if values:
        rows = update(tallies).where(tallies.c.rollout == bindparam("which"), tallies.c.state == bindparam("what"))
        connection.execute(rows.values(devices=tallies.c.devices + bindparam("more")), values)
