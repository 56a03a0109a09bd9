"""What a device says: laws that hold whatever the network loses, repeats or cuts off."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.sync.agent.rows import Rows, transition
from manifests.sync.agent.session import Session
from manifests.sync.channel.messages import (
    Ack,
    Enrolled,
    Heartbeat,
    Hello,
    Offer,
    Refused,
    Report,
    Shadow,
    Wanted,
    Welcome,
    WireError,
    decode,
    encode,
)
from manifests.sync.reported import Reported, Transition

SESSION = "5" * 32


@dataclass
class Rowed:
    seq: int
    body: dict[str, Any]


@dataclass
class Database:
    """The rows of an outbox; may give up old ones."""

    rows: list[Rowed] = field(default_factory=list)
    count: int = 0

    def post(self) -> None:
        self.count += 1
        self.rows.append(Rowed(self.count, {"kind": "update", "revision": self.count, "state": "COMMITTED", "at": 0.0}))

    def acknowledge(self, number: int) -> None:
        self.rows = [row for row in self.rows if row.seq > number]

    def outbox(self) -> Rows:
        return Rows(SESSION, lambda limit: self.rows[:limit], self.acknowledge, lambda: 0.0)


class Device:
    def __init__(self) -> None:
        self.held = 0
        self.now = Reported()

    def revision(self) -> int:
        return self.held

    def reported(self) -> Reported:
        return self.now


@dataclass
class Cloud:
    """The rule that the cloud counts by, alone."""

    last: int = 0
    known: bool = False
    applied: list[int] = field(default_factory=list)

    def answer(self, data: bytes) -> bytes | None:
        envelope = decode(data)
        match envelope.body:
            case Hello(first=first):
                self.last, self.known = max(self.last, first - 1), True
                body = Welcome(name="d", token="t", token_expires=datetime(2030, 1, 1, tzinfo=UTC))
                return encode(body, session=SESSION, ack=self.last)
            case Report(previous=previous, transition=step):
                if previous <= self.last < envelope.seq:
                    self.last = envelope.seq
                    self.applied.append(step.revision)
                return encode(Ack(), session=SESSION, ack=self.last)
        return None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 40), st.floats(0, 0.6), st.floats(0, 0.4))
def test_every_report_counts_once_and_in_order(seed: int, reports: int, lost: float, doubled: float) -> None:
    """Messages are lost and repeated both ways, late ones come again, connections and the device's process end at any moment."""
    chance = random.Random(seed)
    database, cloud, device = Database(), Cloud(), Device()
    session = Session(database.outbox(), device)
    late: list[bytes] = []
    now = 0.0
    session.connected(now)
    for turn in range(3000):
        if database.count < reports and chance.random() < 0.3:
            database.post()
        now += 1.0
        faulty = turn < 400
        if faulty and chance.random() < 0.02:
            session = Session(database.outbox(), device)  # the process was killed
            session.connected(now)
        elif faulty and chance.random() < 0.03:
            session.disconnected()
            session.connected(now)
        sent = session.due(now)
        if faulty and late and chance.random() < 0.2:
            cloud.answer(chance.choice(late))
        for message in sent:
            if b'"report"' in message:
                late.append(message)
            for _ in range(2 if faulty and chance.random() < doubled else 1):
                if not (faulty and chance.random() < lost):
                    answer = cloud.answer(message)
                    if answer is not None and not (faulty and chance.random() < lost):
                        session.received(answer, now)
        if not faulty and database.count == reports and not database.rows:
            break
    assert cloud.applied == list(range(1, reports + 1))
    assert not database.rows


def test_rows_that_were_given_up_leave_no_hole_behind_which_nothing_goes() -> None:
    database, cloud = Database(), Cloud()
    for _ in range(30):
        database.post()
    database.rows = [row for row in database.rows if row.seq not in {1, 2, 9, 10, 30}]
    session = Session(database.outbox(), Device())
    session.connected(0.0)
    for now in range(200):
        for message in session.due(float(now)):
            if answer := cloud.answer(message):
                session.received(answer, float(now))
    assert cloud.applied == [number for number in range(1, 31) if number not in {1, 2, 9, 10, 30}]


def greeted(device: Device, database: Database | None = None) -> Session:
    session = Session((database or Database()).outbox(), device)
    session.connected(0.0)
    answer = Cloud().answer(session.due(0.0)[0])
    assert answer is not None
    session.received(answer, 0.0)
    return session


def test_an_acknowledgement_from_elsewhere_deletes_nothing() -> None:
    database = Database()
    database.post()
    session = greeted(Device(), database)
    session.received(encode(Ack(), session=SESSION, ack=1), 0.0)  # of what was not sent
    session.due(0.0)
    session.received(encode(Ack(), session="6" * 32, ack=1), 0.0)  # of another outbox
    session.received(encode(Ack(), session=SESSION, ack=99), 0.0)  # of what there is not
    assert database.rows
    session.received(encode(Ack(), session=SESSION, ack=1), 0.0)
    assert not database.rows


def test_evidence_that_is_too_long_is_left_out_and_what_happened_is_told() -> None:
    database = Database()
    database.post()
    database.rows[0].body["switch"] = {"kept": ["x" * 300_000]}
    (message,) = (each for each in map(decode, greeted(Device(), database).due(0.0)) if isinstance(each.body, Report))
    assert isinstance(message.body, Report)
    assert (message.seq, message.body.transition.outcome) == (1, "done")
    assert "at most" in message.body.transition.evidence["left_out"]


def test_only_newer_revisions_are_offered() -> None:
    device = Device()
    device.held = 5
    session = greeted(device)
    for revision in (4, 5, 6):
        session.received(encode(Wanted(desired=Offer(revision=revision, digest="0" * 64, url="/v1/x"))), 1.0)
    assert [offer.revision for offer in session.offers()] == [6]


def test_heartbeats_are_jittered_and_the_shadow_follows_what_changed() -> None:
    device = Device()
    session = greeted(device)
    kinds = [[type(decode(message).body) for message in session.due(float(now))] for now in range(600)]
    beats = [now for now, sent in enumerate(kinds) if Heartbeat in sent]
    gaps = {after - before for before, after in itertools.pairwise(beats)}
    assert all(48 <= gap <= 73 for gap in gaps)
    assert len(gaps) > 1
    assert sum(Shadow in sent for sent in kinds) == 1
    device.now = Reported(revision=1)
    assert Shadow in [type(decode(message).body) for message in session.due(601.0)]
    session.received(encode(Ack(shadow=True)), 602.0)
    assert Shadow in [type(decode(message).body) for message in session.due(603.0)]


def test_a_device_that_waits_for_a_person_says_so() -> None:
    session = Session(Database().outbox(), Device(), token="0123456789abcdef")
    session.connected(0.0)
    session.due(0.0)
    session.received(encode(Enrolled(state="pending", name="porch")), 0.0)
    assert session.refusal == "this device has asked to be let in as porch: a person must approve it"


def test_a_refusal_is_obeyed() -> None:
    session = greeted(Device())
    session.received(encode(Refused(reason="revoked", retry_s=3600)), 0.0)
    assert session.refusal == "revoked"
    assert not any(session.due(float(now)) for now in range(2800))
    assert isinstance(decode(session.due(4400.0)[0]).body, Hello)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)
    greeted(Device()).received(data, 1.0)


@pytest.mark.parametrize(
    "broken",
    [
        {"v": 2},
        {"extra": 1},
        {"seq": -1},
        {"seq": 1 << 60},
        {"msg_id": "x"},
        {"body": {"type": "heartbeat", "revision": 1}},
        {"body": {"type": "nothing"}},
        {"body": {"type": "heartbeat", "revision": "1", "reported": "0" * 64}},
    ],
)
def test_a_message_must_be_exactly_right(broken: dict[str, Any]) -> None:
    good = json.loads(encode(Heartbeat(revision=1, reported="0" * 64)))
    assert decode(json.dumps(good).encode())
    with pytest.raises(WireError, match="expected"):
        decode(json.dumps(good | broken).encode())


def test_depth_and_size_are_bounded() -> None:
    deep = (
        b'{"v":1,"msg_id":"'
        + b"0" * 32
        + b'","body":{"type":"enrol","token":"0123456789abcdef","about":'
        + b'{"a":' * 5000
        + b"1"
        + b"}" * 5002
    )
    with pytest.raises(WireError):
        decode(deep)
    with pytest.raises(WireError, match="at most 262144 bytes"):
        decode(b" " * 300_000)
    with pytest.raises(WireError, match="at most"):
        encode(Shadow(reported=Reported(about={"a": "x" * 300_000})))


@pytest.mark.parametrize(
    ("body", "outcome", "state"),
    [
        ({"kind": "update", "revision": 3, "state": "FETCH", "at": 5.0}, "working", "fetch"),
        ({"kind": "update", "revision": 3, "state": "COMMITTED", "at": 5.0}, "done", "committed"),
        ({"kind": "update", "revision": 3, "state": "FAILED", "at": 5.0, "code": "space", "reason": "no room"}, "failed", "failed"),
        ({"kind": "update", "revision": 3, "state": "ROLLED_BACK", "at": 5.0}, "failed", "rolled_back"),
        ({"kind": "update", "revision": 3, "state": "SUPERSEDED", "at": 5.0}, "superseded", "superseded"),
        ({"kind": "refused", "code": "rollback", "reason": "old", "at": 5.0}, "refused", "refused"),
        ({"kind": "fell-back", "revision": 3, "code": "damaged", "reason": "bytes"}, "failed", "fell-back"),
        ({"kind": "running", "generation": 1, "revision": 3}, "working", "running"),
    ],
)
def test_rows_of_the_update_machine_say_what_they_mean(body: dict[str, Any], outcome: str, state: str) -> None:
    step: Transition = transition(body, 9.0)
    assert (step.outcome, step.state, step.revision) == (outcome, state, body.get("revision", 0))
    assert step.at.timestamp() == body.get("at", 9.0)
