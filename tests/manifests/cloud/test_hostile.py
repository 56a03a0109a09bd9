"""What nobody in their right mind would send: each is answered, none changes anything, and others go on."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import DataError, OperationalError

from manifests.cloud import api, desk, inventory, people
from manifests.cloud.api import make_app
from manifests.cloud.errors import Forbidden, Refusal
from manifests.cloud.limits import HttpLimits
from manifests.cloud.people import Person
from manifests.cloud.service import Cloud
from manifests.sync.channel.gateway import Limits
from manifests.sync.channel.messages import Heartbeat, Refused, Report, Shadow, Welcome, encode
from manifests.sync.reported import Reported

from .fleet import ALL_BYTES, make_cloud, populate, wait_for
from .test_channel import NOTHING, SESSION, hello, let_in, raw, step

Answer = tuple[int, Any]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that serves no devices."""
    made = make_cloud(tmp_path_factory.mktemp("cloud"))
    populate(made, 3, "rooms")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def token(quiet: Cloud) -> str:
    with quiet.database.write() as connection:
        return people.create(connection, "test", "root", "admin")


@functools.cache
def application(cloud: Cloud) -> FastAPI:
    return make_app(cloud, HttpLimits(stranger=(1e3, 1e6), person=(1e3, 1e6)))


def answers(cloud: Cloud, token: str, *asked: tuple[str, str, bytes]) -> list[Answer]:
    """To each its status and JSON; whatever the application raises is raised here."""

    async def ask() -> list[Answer]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        transport = httpx.ASGITransport(application(cloud))
        async with httpx.AsyncClient(transport=transport, base_url="http://cloud", headers=headers) as client:
            got = [await client.request(method, path, content=body) for method, path, body in asked]
        return [(each.status_code, each.json()) for each in got]

    return asyncio.run(ask())


UNSPEAKABLE = (b"NaN", b"-Infinity", b"1e999", b'"\\ud800"')
ODD = (*UNSPEAKABLE, b'"\\u0000"', b"9" * 4000, b"[" * 900 + b"]" * 900, b'{"a": {"b": [1]}}', b"null", b"-1")
BODIES = [
    ("/v1/invitations", b'{"name": "x", "lasts_s": %s}'),
    ("/v1/people", b'{"name": "p", "role": %s}'),
    ("/v1/reload", b'{"device": "rooms-0", "items": ["business/pet@1.1.0"], "set": {"boxes.score": %s}}'),
    ("/v1/reload", b'{"device": %s, "items": ["business/pet"]}'),
    ("/v1/reload", b'{"cohort": "rooms", "items": ["business/pet"], "probation_s": %s}'),
    ("/v1/remove", b'{"device": "rooms-0", "items": [%s]}'),
    ("/v1/impact/reload", b'{"cohort": "rooms", "items": ["business/pet"], "shadow": {"share": %s}}'),
    ("/v1/resets", b'{"devices": [%s], "reason": "a test"}'),
    ("/v1/rollouts", b'{"cohort": "rooms", "item": "model/detector", "deadline_s": %s}'),
    ("/v1/rollouts", b'{"cohort": "rooms", "item": %s}'),
    ("/v1/trust/roots", b'{"roots": [%s]}'),
]


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[f"{path} {number}" for number, (path, _) in enumerate(BODIES)])
def test_odd_values_are_refused_with_a_message(quiet: Cloud, token: str, path: str, body: bytes) -> None:
    for odd, (status, told) in zip(ODD, answers(quiet, token, *[("POST", path, body % odd) for odd in ODD]), strict=True):
        assert status < 500, (odd[:20], told)
        assert status >= 400 or odd not in UNSPEAKABLE
        assert status < 400 or told.get("error") or told["detail"]
    json.dumps(quiet.query("rooms-0"), allow_nan=False)


def test_odd_names_and_numbers_in_paths_are_refused(quiet: Cloud, token: str) -> None:
    names = ("%00", "rooms-0%00x", "%ff", "%ed%a0%80", "..%2f..", "x" * 5000, "________", "10" * 30, "-1", "9223372036854775808")
    gets = ("devices/%s", "devices/%s/history", "rollouts/%s", "audit?before=%s", "devices?limit=%s")
    posts = ("devices/%s/approve", "people/%s/revoke", "resets/%s/agree")
    asked = [(method, f"/v1/{path % name}", b"") for name in names for method, paths in (("GET", gets), ("POST", posts)) for path in paths]
    for (_, path, _), (status, told) in zip(asked, answers(quiet, token, *asked), strict=True):
        assert 400 <= status < 500, (path, told)


def test_what_the_cloud_cannot_store_is_no_riddle(quiet: Cloud, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"device": "rooms-0", "items": ["model/detector"]}'
    for error, status in (
        (OSError(28, "no space left on device"), 503),
        (OperationalError("INSERT", {}, Exception("disk I/O error")), 503),
        (DataError("SELECT", {}, Exception("NUL")), 422),
    ):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(quiet, "download", fail)
        [(got, told)] = answers(quiet, token, ("POST", "/v1/download", body))
        assert (got, list(told)) == (status, ["error"])


def test_bundles_leave_room_for_the_database(quiet: Cloud, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    for free, status in ((api.RESERVE + len(ALL_BYTES) - 1, 507), (api.RESERVE + len(ALL_BYTES), 200)):
        monkeypatch.setattr(api, "disk_usage", lambda _, free=free: usage(free))
        [(got, _)] = answers(quiet, token, ("PUT", "/v1/bundles", ALL_BYTES))
        assert got == status
    assert not list(quiet.folder.glob("*.ace"))


def test_the_last_administrator_stays(quiet: Cloud) -> None:
    admins = [Person("root", "admin"), Person("other", "admin")]
    quiet.create_person(admins[0], "other", "admin")
    quiet.revoke_person(admins[0], "other")
    with pytest.raises(Refusal, match="root is the last admin: expected another one first"):
        quiet.revoke_person(admins[0], "root")


def test_who_may_not_reset_learns_and_holds_up_nothing(quiet: Cloud) -> None:
    with pytest.raises(Forbidden, match="vera is viewer"):
        quiet.reset(Person("vera", "viewer"), ["no such device"], "", "a test")
    with pytest.raises(Forbidden, match="olga is operator"):
        quiet.agree(Person("olga", "operator"), 99)


# Devices


def test_what_cannot_be_said_again_is_refused_and_others_are_heard(cloud: Cloud) -> None:
    """One message that cannot be stored would have those that come with it stored one by one; one that cannot be shown hides a device."""
    evil, good = let_in(cloud, "evil"), let_in(cloud, "good")
    report = encode(Report(previous=0, transition=step()), session=SESSION, seq=1)
    shadow = encode(Shadow(reported=Reported()))
    with raw(cloud, evil) as one, raw(cloud, good) as two:
        for peer in (one, two):
            assert isinstance(peer.ask(hello(), session=SESSION), Welcome)
            peer.hear()
        for odd in (b"NaN", b"1e999", b"-Infinity", b'"\\ud800"', b"[" * 900 + b"]" * 900):
            said = b'{"x":%s' % odd
            for message in (report.replace(b'"evidence":{', b'"evidence":' + said), shadow.replace(b'"about":{', b'"about":' + said)):
                assert odd in message
                one.socket.send(message)
                assert isinstance(one.hear().body, Refused), odd
        one.socket.send(report.replace(b'"detail":""', b'"detail":"a\\u0000b"'))
        assert one.hear().ack == 1
        two.socket.send(report)
        assert two.hear().ack == 1
    told = cloud.query("evil")
    json.dumps(told, allow_nan=False)
    assert [row["detail"] for row in told["history"]] == ["ab"]
    assert "failed" not in cloud.gateway.counts.refused


def test_long_messages_count_for_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A device that is approved may not fill the database either."""
    cloud = make_cloud(tmp_path_factory.mktemp("long"), limits=Limits(rate=0.001, burst=20))
    cloud.start()
    try:
        with raw(cloud, let_in(cloud, "kitchen")) as peer:
            peer.ask(hello())
            peer.hear()
            peer.say(Shadow(reported=Reported(about={"x": "y" * 14 * 1024})))
            for _ in range(9):
                peer.say(Heartbeat(revision=0, reported=NOTHING))
            wait_for(lambda: cloud.gateway.counts.refused.get("rate", 0) == 5, "what was too much is counted")
    finally:
        cloud.stop()


def test_history_is_kept_as_long_as_somebody_reads_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "KEPT", 5)
    monkeypatch.setattr(inventory, "MOST_EVIDENCE", 100)
    monkeypatch.setattr(desk, "PRUNE_EVERY", 4)
    loud, quiet = let_in(cloud, "loud"), let_in(cloud, "quiet")
    with raw(cloud, loud) as one, raw(cloud, quiet) as two:
        for peer, count in ((one, 12), (two, 3)):
            peer.ask(hello(), session=SESSION)
            peer.hear()
            for seq in range(1, count + 1):
                said = step(seq).model_copy(update={"evidence": {"x": "y" * 200 * (seq % 2)}})
                peer.say(Report(previous=seq - 1, transition=said), session=SESSION, seq=seq)
                assert peer.hear().ack == seq
    history = cloud.query("loud")["history"]
    assert [row["revision"] for row in history] == [12, 11, 10, 9, 8]
    assert [row["evidence"] for row in history[:2]] == [{"x": ""}, {"left_out": "209 characters: expected at most 100"}]
    assert len(cloud.query("quiet")["history"]) == 3


def test_settings_are_plain(quiet: Cloud, token: str) -> None:
    good = b'{"device": "rooms-2", "items": ["business/pet@1.1.0"], "set": {"boxes.score": 0.5, "a": true, "b": "x"}}'
    assert answers(quiet, token, ("POST", "/v1/reload", good))[0][0] == 200
