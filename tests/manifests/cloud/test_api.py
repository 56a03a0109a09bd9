"""The HTTP side, over a real connection."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from manifests.cloud import audit, people
from manifests.cloud import server as serving
from manifests.cloud.limits import HttpLimits
from manifests.cloud.service import Ask, Cloud
from manifests.sync.agent.http import CloudHttp, HttpError
from manifests.sync.channel.messages import Offer
from manifests.trust.store import TrustStore

from .fleet import ALL_BYTES, DETECTOR, ROOT, make_cloud, populate, served

Ask_ = Callable[..., httpx.Response]
MANY = HttpLimits(stranger=(1e3, 1e6), person=(1e3, 1e6))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = make_cloud(tmp_path_factory.mktemp("cloud"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def address(cloud: Cloud) -> Iterator[str]:
    with served(cloud, MANY) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture(scope="module")
def ask(cloud: Cloud, address: str) -> Iterator[Ask_]:
    tokens = {}
    with cloud.database.write() as connection:
        for role in people.ROLES:
            tokens[role] = people.create(connection, "test", role, role)
    with httpx.Client(base_url=address, timeout=60) as client:

        def call(role: str, method: str, path: str, **arguments: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {tokens.get(role, role)}"} if role else {}
            return client.request(method, path, headers=headers | arguments.pop("headers", {}), **arguments)

        yield call


@pytest.fixture(scope="module")
def kitchen(cloud: Cloud) -> str:
    """A device that is to have the newest detector."""
    key = populate(cloud, 3, "rooms")[0]
    cloud.download(ROOT, Ask(("model/detector@2.0.0",), device=key))
    return key


CHANGE = {"device": "rooms-1", "items": ["model/detector@1.1.0"]}
FLOORS = [
    ("operator", "POST", "/v1/invitations", {"name": "new"}),
    ("operator", "POST", "/v1/download", CHANGE),
    ("operator", "POST", "/v1/reload", CHANGE),
    ("operator", "POST", "/v1/remove", {"device": "rooms-1", "items": ["door"]}),
    ("operator", "POST", "/v1/resets", {"devices": ["rooms-2"], "reason": "a test"}),
    ("operator", "POST", "/v1/rollouts", {"cohort": "rooms", "item": "model/detector"}),
    ("operator", "POST", "/v1/rollouts/1/pause", None),
    ("operator", "PUT", "/v1/bundles", None),
    ("approver", "POST", "/v1/devices/rooms-2/approve", None),
    ("approver", "POST", "/v1/resets/99/agree", None),
    ("approver", "POST", "/v1/assign", CHANGE),
    ("approver", "PUT", "/v1/trust/targets", None),
    ("approver", "POST", "/v1/trust/roots", {"roots": ["{}"]}),
    ("approver", "GET", "/v1/audit", None),
    ("admin", "POST", "/v1/people", {"name": "x", "role": "viewer"}),
    ("admin", "POST", "/v1/people/nobody/revoke", None),
]


@pytest.mark.parametrize(("role", "method", "path", "body"), FLOORS, ids=[f"{each[1]} {each[2]}" for each in FLOORS])
def test_each_role_may_do_its_part_and_no_more(ask: Ask_, kitchen: str, role: str, method: str, path: str, body: Any) -> None:
    below = people.ROLES[people.ROLES.index(role) - 1]
    assert ask("", method, path, json=body).status_code == 401
    assert ask("ace_wrong", method, path, json=body).status_code == 401
    refused = ask(below, method, path, json=body)
    assert refused.status_code == 403, refused.text
    assert f"expected {role} or more" in refused.json()["error"]
    assert ask(role, method, path, json=body).status_code not in {401, 403, 500}


def test_every_route_needs_a_token(ask: Ask_, cloud: Cloud) -> None:
    document = ask("", "GET", "/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            assert ask("", method.upper(), path.replace("{", "").replace("}", "").replace("number", "1")).status_code in {401, 422}, path
    assert {"/v1/download", "/v1/reload", "/v1/resets", "/v1/devices/{name}"} <= document["paths"].keys()


def test_who_asks_nothing_is_sent_away(address: str, ask: Ask_, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent connections, and those that never end their request, take no descriptor from devices for long; nor do too many."""
    place = address.removeprefix("http://").split(":")

    def left(said: bytes) -> bytes:
        with socket.create_connection((place[0], int(place[1])), timeout=20) as connection:
            connection.sendall(said)
            return connection.recv(1)

    with monkeypatch.context() as soon:
        soon.setattr(serving, "ASK_S", 0.1)
        for said in (b"", b"GET /v1/devices HTTP/1.1\r\nHost: x\r\nX-", b"POST"):
            with contextlib.suppress(ConnectionResetError):
                assert left(said) == b""
    assert ask("viewer", "GET", "/v1/devices").status_code == 200
    monkeypatch.setattr(serving, "MOST_SHARE", 0.0)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        assert left(b"") == b""


def test_a_token_that_was_revoked_is_none(ask: Ask_) -> None:
    token = ask("admin", "POST", "/v1/people", json={"name": "gone", "role": "viewer"}).json()["token"]
    assert ask(token, "GET", "/v1/devices").status_code == 200
    assert ask("admin", "POST", "/v1/people/gone/revoke").status_code == 200
    assert ask(token, "GET", "/v1/devices").status_code == 401


def test_people_ask_and_are_answered(ask: Ask_, kitchen: str) -> None:
    told = ask("viewer", "GET", "/v1/devices/rooms-0").json()
    assert told["id"] == kitchen
    assert told["desired"]["staged"][0]["name"] == "detector"
    assert [row["name"] for row in ask("viewer", "GET", "/v1/devices?cohort=rooms&limit=2").json()] == ["rooms-0", "rooms-1"]
    model = next(row for row in ask("viewer", "GET", "/v1/items").json() if row["version"] == "2.0.0")
    assert model["used_by"] == ["business/door@1.0.0", "business/pet@1.0.0", "business/pet@1.1.0"]
    assert ask("viewer", "POST", "/v1/impact/reload", json={"cohort": "rooms", "items": ["model/detector@2.0.0"]}).json()["businesses"]
    lost = ask("viewer", "GET", "/v1/devices/rooms-O")
    assert (lost.status_code, lost.json()["error"]) == (404, "there is no device 'rooms-O' - did you mean `rooms-2`?")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"device": 1}', b'{"device": "d", "items": [], "unknown": 1}', b'{"items":' + b"[" * 100_000]
)
def test_bad_bodies_are_refused(ask: Ask_, body: bytes) -> None:
    assert ask("admin", "POST", "/v1/reload", content=body, headers={"Content-Type": "application/json"}).status_code in {400, 422}


def test_large_bodies_are_refused(ask: Ask_) -> None:
    assert ask("admin", "POST", "/v1/reload", content=b" " * 2_000_000).status_code == 413
    assert ask("admin", "POST", "/v1/reload", content=iter([b" " * 10])).status_code == 413
    assert "at most 5,000,000 bytes" in ask("admin", "PUT", "/v1/trust/targets", content=iter([b" " * 1_000_000] * 6)).json()["error"]


def test_a_file_that_is_no_bundle_is_refused_and_not_kept(ask: Ask_, cloud: Cloud) -> None:
    for body in (b"", b"PK\x03\x04 nothing", ALL_BYTES[:-100], ALL_BYTES.replace(b"weights 1.0.0", b"weights 6.6.6")):
        refused = ask("operator", "PUT", "/v1/bundles", content=body)
        assert refused.status_code == 422
        assert "this bundle cannot be used" in refused.json()["error"]
        assert str(cloud.folder) not in refused.text
    assert ask("operator", "PUT", "/v1/bundles", content=ALL_BYTES).json() == []
    assert not list(cloud.folder.glob("*.ace"))
    assert not [name for name in open_files() if name.startswith(str(cloud.folder)) and ".ace" in name], "space on the disk is kept"


def open_files() -> list[str]:
    """Names of all files that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another thread may close its own meanwhile
            found.append(str(entry.readlink()))
    return found


def http(cloud: Cloud, address: str, device: str) -> CloudHttp:
    return CloudHttp(address, lambda: cloud.desk.http_token(device)[0], lambda: None)


def test_a_device_gets_what_it_is_to_have_from_any_byte_on(cloud: Cloud, address: str, kitchen: str) -> None:
    client = http(cloud, address, kitchen)
    wanted = hashlib.sha256(b"weights 2.0.0").hexdigest()
    assert b"".join(client.fetch(wanted)) == b"weights 2.0.0"
    for offset in range(1, 13):
        assert b"".join(client.fetch(wanted, offset)) == b"weights 2.0.0"[offset:]
    with pytest.raises(HttpError, match="416"):
        b"".join(client.fetch(wanted, 100))
    document = b"".join(client.fetch(DETECTOR["2.0.0"].digest))
    assert hashlib.sha256(document).hexdigest() == DETECTOR["2.0.0"].digest
    client.close()


def test_a_device_gets_nothing_else(cloud: Cloud, address: str, kitchen: str) -> None:
    client = http(cloud, address, kitchen)
    for digest in (hashlib.sha256(b"weights 1.1.0").hexdigest(), "0" * 64, "..%2f..%2fhttp.key"):
        with pytest.raises(FileNotFoundError):
            b"".join(client.fetch(digest))
    for name in ("snapshot.pem", "..%2fonline%2fdesired.pem", "9.targets.json"):
        assert client.metadata(name, 100) is None
    client.close()


def test_without_a_valid_token_a_device_is_told_to_ask_again(cloud: Cloud, address: str) -> None:
    asked = []
    client = CloudHttp(address, lambda: "old", lambda: asked.append(True))
    with pytest.raises(HttpError, match="401"):
        b"".join(client.fetch("0" * 64))
    assert asked
    client.close()


def test_metadata_and_long_desired_states_come_over_http(cloud: Cloud, address: str, kitchen: str, tmp_path: Path) -> None:
    client = http(cloud, address, kitchen)
    store = TrustStore(tmp_path, cloud.repository.first_root())
    store.refresh(client.metadata, datetime.now(UTC))
    assert store.view().items
    signed = client.desired(Offer(revision=1, digest="0" * 64, url="/v1/device/desired/1"))
    assert signed.decode() == cloud.signed_desired(kitchen, 1)
    with pytest.raises(HttpError, match="a path of this cloud"):
        client.desired(Offer(revision=1, digest="0" * 64, url="http://elsewhere/"))
    client.close()


def test_a_cloud_that_is_away_is_an_error_that_passes(tmp_path: Path) -> None:
    client = CloudHttp("http://127.0.0.1:9", lambda: "", lambda: None)
    with pytest.raises(HttpError):
        b"".join(client.fetch("0" * 64))
    client.close()


def test_the_audit_log_shows_what_was_changed_in_it(ask: Ask_, cloud: Cloud, tmp_path: Path) -> None:
    told = ask("approver", "GET", "/v1/audit?limit=1000").json()
    assert told["first_broken"] is None
    assert {"item.add", "download", "person.create"} <= {entry["action"] for entry in told["entries"]}
    number = told["entries"][5]["id"]
    for statement in (
        f"UPDATE audit SET person = 'somebody' WHERE id = {number}",
        f"UPDATE audit SET detail = '{{}}', at = 0 WHERE id = {number}",
        f"DELETE FROM audit WHERE id = {number}",
    ):
        with cloud.database.engine.connect() as connection:
            connection.exec_driver_sql(statement)
            assert audit.first_broken(connection) == number
            connection.rollback()
            assert audit.first_broken(connection) is None
