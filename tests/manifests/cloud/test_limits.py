"""How much may be asked over HTTP, and what becomes of those who ask more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from manifests.cloud import people, server, threshold
from manifests.cloud.api import make_app
from manifests.cloud.limits import HEAVY, HttpLimits, Limiter, TooMany, bytes_asked, network
from manifests.cloud.service import Ask, Cloud

from .fleet import ROOT, make_cloud, populate, served, wait_for

FEW = HttpLimits(stranger=(0.5, 4), person=(1.0, 30), device=(1.0, 5), device_bytes=(1.0, 40), remembered=8)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = make_cloud(tmp_path_factory.mktemp("cloud"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def tokens(cloud: Cloud) -> dict[str, str]:
    with cloud.database.write() as connection:
        return {name: people.create(connection, "test", name, "admin") for name in ("anna", "olga")}


class House:
    """The application, a clock that stands still, and who asks from where."""

    def __init__(self, cloud: Cloud, limits: HttpLimits = FEW) -> None:
        self.now = 0.0
        self.app = make_app(cloud, limits)
        self.limiter: Limiter = self.app.state.limiter
        self.limiter._clock = lambda: self.now

    def get(self, path: str, token: str = "", address: str = "192.0.2.1", **headers: str) -> httpx.Response:
        said = {"Authorization": f"Bearer {token}"} if token else {}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}

        async def get() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://cloud") as client:
                return await client.get(path, headers=said)

        return asyncio.run(get())


@pytest.fixture
def house(cloud: Cloud) -> House:
    return House(cloud)


def test_who_guesses_tokens_is_soon_not_even_looked_up(
    house: House, cloud: Cloud, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.get("/v1/trust", tokens["anna"]).status_code == 200
    looked_up = []
    who = cloud.who
    monkeypatch.setattr(cloud, "who", lambda secret: looked_up.append(secret) or who(secret))
    answers = [house.get("/v1/trust", f"ace_{number}") for number in range(9)]
    assert [each.status_code for each in answers] == [401] * 4 + [429] * 5
    assert len(looked_up) == 4
    assert answers[-1].headers["Retry-After"] == "2"
    assert answers[-1].json() == {
        "error": "too many requests of this address without a valid token: ask again in 2 s",
        "retry_s": 2,
    }
    assert house.get("/v1/trust").status_code == 429, "no token is a wrong one"
    assert house.get("/openapi.json").status_code == 429
    assert house.get("/v1/trust", "ace_x", "192.0.2.2").status_code == 401, "another address"
    assert house.get("/v1/trust", tokens["anna"]).status_code == 200, "who has a token that was good is not kept waiting"
    house.now += 2
    assert [house.get("/v1/trust", "ace_x").status_code for _ in range(2)] == [401, 429]


def test_a_good_token_costs_its_address_nothing(house: House, tokens: dict[str, str]) -> None:
    for _ in range(3):
        assert [house.get("/v1/trust", tokens[name]).status_code for name in ("anna", "olga")] == [200, 200]
    assert house.limiter.strangers.of("192.0.2.1", house.now).tokens == 4


def test_a_token_that_was_revoked_counts_as_a_guess(house: House, cloud: Cloud) -> None:
    with cloud.database.write() as connection:
        token = people.create(connection, "test", "gone", "viewer")
    assert house.get("/v1/trust", token).status_code == 200
    cloud.revoke_person(ROOT, "gone")
    answers = [house.get("/v1/trust", token).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2, "the first finds out, and is free"


def test_one_person_has_no_more_than_a_share(house: House, tokens: dict[str, str]) -> None:
    answers = [house.get(path, tokens["anna"]) for path in ["/v1/trust", "/openapi.json", "/nothing"] * 10 + ["/v1/trust"]]
    assert [each.status_code for each in answers] == [200, 200, 404] * 10 + [429]
    assert answers[-1].json()["error"] == "too many requests of anna: ask again in 1 s"
    assert house.get("/v1/trust", tokens["olga"]).status_code == 200
    house.now += 1
    assert house.get("/v1/trust", tokens["anna"]).status_code == 200


def test_what_takes_long_counts_for_more(house: House, tokens: dict[str, str]) -> None:
    assert house.get("/v1/audit", tokens["anna"]).status_code == 200
    late = house.get("/v1/audit", tokens["anna"])
    assert (late.status_code, late.headers["Retry-After"]) == (429, str(int(2 * HEAVY - 30)))
    assert house.get("/v1/trust", tokens["anna"]).status_code == 200


@pytest.fixture(scope="module")
def kitchen(cloud: Cloud) -> str:
    key = populate(cloud, 2, "rooms")[0]
    cloud.download(ROOT, Ask(("model/detector@2.0.0",), device=key))
    return key


BLOB = f"/v1/device/blobs/{hashlib.sha256(b'weights 2.0.0').hexdigest()}"


def test_a_device_has_its_share_of_requests(house: House, cloud: Cloud, kitchen: str) -> None:
    token = cloud.desk.http_token(kitchen)[0]
    answers = [house.get("/v1/device/trust/timestamp.json", token) for _ in range(7)]
    assert [each.status_code for each in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["error"] == "too many requests of this device: ask again in 1 s"


def test_a_device_has_its_share_of_bytes(house: House, cloud: Cloud, kitchen: str) -> None:
    """13 bytes each, 40 at once; what it says it has already is not counted, but only where that is what it gets."""
    token = cloud.desk.http_token(kitchen)[0]
    assert [house.get(BLOB, token).status_code for _ in range(2)] == [200, 200]
    assert house.get(BLOB, token, Range="bytes=12-").status_code == 206
    bucket = house.limiter.bytes.of(kitchen, house.now)
    assert bucket.tokens == 40 - 2 * 13 - 1
    for trick in ({"Range": "bytes=12-", "If_Range": '"other"'}, {"Range": "bytes=0-12,0-12"}):
        before = bucket.tokens = 13.0
        house.get(BLOB, token, **trick)
        assert before - bucket.tokens == 13
    house.now += 2  # seconds: two more requests, and two more bytes
    late = house.get(BLOB, token)
    assert late.status_code == 429
    assert "of this device for 13 bytes" in late.json()["error"]


def test_what_a_request_for_bytes_comes_to() -> None:
    assert bytes_asked(100, None, None) == 100
    assert bytes_asked(100, "bytes=60-", None) == 40
    assert bytes_asked(100, "bytes=200-", None) == 0
    for wanted in ("bytes=60-70", "bytes=-5", "bytes=99-,0-", "bytes=²-", "bytes=" + "9" * 40 + "-", "items=60-", "bytes=bytes=60-"):
        assert bytes_asked(100, wanted, None) == 100
    assert bytes_asked(100, "bytes=60-", '"etag"') == 100


def test_a_site_of_devices_whose_tokens_have_expired_is_no_guesser(
    house: House, cloud: Cloud, kitchen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told to say hello, and people at the same address are not kept waiting for it."""
    monkeypatch.setattr("manifests.cloud.desk.TOKEN_S", -1.0)
    token = cloud.desk.http_token(kitchen)[0]
    answers = [house.get("/v1/device/trust/timestamp.json", token).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
    assert house.limiter.strangers.of("192.0.2.1", house.now).tokens == 4


def test_memory_is_bounded_however_many_ask() -> None:
    limiter = Limiter(FEW)
    for number in range(200):
        limiter.enter(f"192.0.2.{number}", "x")
        limiter.welcome(f"198.51.100.{number}", f"good {number}", "anna")
        limiter.people.of("anna", 0.0).tokens = 30
        limiter.person(f"person {number}")
        limiter.device(f"{number}")
        limiter.blob(f"{number}", 1)
    assert [len(each) for each in (limiter.strangers, limiter.people, limiter.devices, limiter.bytes, limiter.known)] == [8] * 5


def test_a_blob_that_is_larger_than_the_share_can_be_had_once() -> None:
    now = [0.0]
    limiter = Limiter(FEW, lambda: now[0])
    limiter.blob("kitchen", 1000)
    with pytest.raises(TooMany, match="in 40 s"):
        limiter.blob("kitchen", 1000)


def test_the_addresses_of_one_site_are_one() -> None:
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:3::1") != network("2001:db8:1:2::1")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1") == "192.0.2.1"
    assert network("fe80::1%eth0") == "fe80::/64"
    assert network("x" * 1000) == "x" * 64


@pytest.fixture
def place(cloud: Cloud) -> Iterator[tuple[str, int]]:
    """Where the cloud is served."""
    with served(cloud) as where:
        yield where


def said(place: tuple[str, int], token: str, method: str, path: str, *headers: str) -> bytes:
    """The answer to the head of a request and the beginning of its body."""
    with socket.create_connection(place, timeout=20) as connection:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", "Content-Type: application/json", *headers]
        connection.sendall("\r\n".join([*lines, "", "{"]).encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_a_body_that_does_not_come_is_not_waited_for(
    place: tuple[str, int], cloud: Cloud, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends: it is one that a device may need."""
    monkeypatch.setattr(threshold, "BODY_S", 0.1)
    monkeypatch.setattr(threshold, "PIECE_S", 0.1)
    for method, path in (("POST", "/v1/reload"), ("PUT", "/v1/bundles"), ("PUT", "/v1/trust/targets")):
        answer = said(place, tokens["anna"], method, path, "Content-Length: 1000")
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert b"within 0.1 s" in answer
    assert not list(cloud.folder.glob("*.ace"))


def test_what_is_left_of_a_request_that_was_answered_is_not_waited_for(
    place: tuple[str, int], tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ASK_S", 0.5)
    for token, method, path, status in (("x", "PUT", "/v1/bundles", b"401"), (tokens["anna"], "POST", "/v1/reload", b"413")):
        with contextlib.suppress(ConnectionResetError):
            assert said(place, token, method, path, "Content-Length: 2000000").startswith(b"HTTP/1.1 " + status)


def test_one_address_leaves_connections_to_others(place: tuple[str, int], tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of 127.0.0.0/8 is this machine."""
    monkeypatch.setattr(server, "MOST_OF_ONE", 4 / (server.MOST_SHARE * resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

    def asked(origin: str) -> bool:
        transport = httpx.HTTPTransport(local_address=origin)
        with httpx.Client(transport=transport, headers={"Authorization": f"Bearer {tokens['anna']}"}) as client:
            try:
                return client.get(f"http://{place[0]}:{place[1]}/v1/items").is_success
            except httpx.TransportError:
                return False

    with contextlib.ExitStack() as held:
        for _ in range(4):
            held.enter_context(socket.create_connection(place, source_address=("127.0.0.2", 0)))
        wait_for(lambda: not asked("127.0.0.2"), "no more are taken")
        assert asked("127.0.0.3")
    wait_for(lambda: asked("127.0.0.2"), "there is room again")


def test_what_is_too_long_is_refused_before_it_comes(place: tuple[str, int], tokens: dict[str, str]) -> None:
    for length in ("1048577", "99999999999999999999"):
        head = ("Connection: close", f"Content-Length: {length}")
        assert said(place, tokens["anna"], "POST", "/v1/reload", *head).startswith(b"HTTP/1.1 4")


def test_who_asks_through_a_proxy_is_known_by_his_own_address(cloud: Cloud) -> None:
    """One on this machine is believed; others are, where FORWARDED_ALLOW_IPS names them."""
    with served(cloud, HttpLimits(stranger=(0.001, 2))) as (host, port):

        def guess(address: str) -> int:
            headers = {"Authorization": "Bearer ace_x", "X-Forwarded-For": address}
            return httpx.get(f"http://{host}:{port}/v1/items", headers=headers).status_code

        assert [guess("192.0.2.9") for _ in range(3)] == [401, 401, 429]
        assert guess("192.0.2.10") == 401


def test_a_command_waits_and_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from flow.cli import remote

    monkeypatch.setenv("ACE_TOKEN", "x")
    waited: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", waited.append)

    def once(answers: list[httpx.Response]) -> Callable[..., httpx.Response]:
        return lambda *_: answers.pop(0)

    many = [httpx.Response(429, headers={"Retry-After": "25"}, json={"error": "too many"}) for _ in range(9)]
    monkeypatch.setattr(remote, "_once", once([*many[:2], httpx.Response(200, json=[1])]))
    assert remote.ask("http://x", "GET", "/") == [1]
    assert waited == [25, 25]
    monkeypatch.setattr(remote, "_once", once(many))
    with pytest.raises(remote.CloudRefusal, match="too many"):
        remote.ask("http://x", "GET", "/")
    assert waited == [25, 25] * 2
