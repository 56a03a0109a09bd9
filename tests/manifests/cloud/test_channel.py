"""The channel under attack, and under failure: real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zmq

from manifests.cloud.errors import Refusal
from manifests.cloud.service import Ask, Cloud
from manifests.sync.agent.connection import dealer
from manifests.sync.channel.curve import KeyFileError, KeyPair
from manifests.sync.channel.gateway import Limits
from manifests.sync.channel.messages import (
    Ack,
    Body,
    Enrol,
    Enrolled,
    Envelope,
    Heartbeat,
    Hello,
    Refused,
    Report,
    Wanted,
    Welcome,
    decode,
    encode,
)
from manifests.sync.reported import Reported, Transition

from .fleet import ROOT, Device, make_cloud, wait_for

Make = Callable[..., Device]
SESSION = "7" * 32
NOTHING = Reported().digest


class Raw:
    """A peer that says what it likes."""

    def __init__(self, cloud: Cloud, keys: KeyPair, identity: bytes = b"") -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = dealer(self.context, cloud.keys.public, keys)
        if identity:
            self.socket.setsockopt(zmq.IDENTITY, identity)
        self.socket.connect(cloud.gateway.endpoint)

    def say(self, body: Body, **numbers: Any) -> None:
        self.socket.send(encode(body, **numbers))

    def hear(self, seconds: float = 20.0) -> Envelope:
        assert self.socket.poll(int(1000 * seconds)), "the cloud has not answered"
        return decode(self.socket.recv())

    def ask(self, body: Body, **numbers: Any) -> Any:
        self.say(body, **numbers)
        return self.hear().body

    def deaf(self, cloud: Cloud, counted: str, seconds: float = 20.0) -> None:
        """The cloud has counted something of this kind, and answered nothing."""
        wait_for(lambda: cloud.gateway.counts.refused.get(counted), f"{counted} is counted", seconds)
        assert not self.socket.poll(50)


@contextmanager
def raw(cloud: Cloud, keys: KeyPair | None = None, identity: bytes = b"") -> Iterator[Raw]:
    peer = Raw(cloud, keys or KeyPair.create(), identity)
    try:
        yield peer
    finally:
        peer.context.destroy(linger=0)


def hello(revision: int = 0, first: int = 1) -> Hello:
    return Hello(boot="1" * 32, revision=revision, reported=NOTHING, first=first)


def step(revision: int = 1) -> Transition:
    return Transition(revision=revision, outcome="working", state="fetch", at=datetime(2026, 11, 1, tzinfo=UTC))


def let_in(cloud: Cloud, name: str) -> KeyPair:
    """A key that is approved."""
    keys = KeyPair.create()
    token = cloud.invite(ROOT, name, "default", 600)
    with raw(cloud, keys) as peer:
        assert peer.ask(Enrol(token=token)).state == "pending"
    cloud.set_state(ROOT, name, "approved")
    return keys


def test_a_token_lets_one_device_ask_once(cloud: Cloud) -> None:
    token = cloud.invite(ROOT, "kitchen", "default", 600)
    cloud.invite(ROOT, "hall", "default", 600)
    keys = KeyPair.create()
    with raw(cloud, keys) as peer, raw(cloud) as other:
        assert peer.ask(hello()) == Refused(reason="this device is not approved: a person must do it", retry_s=30)
        assert "unknown, spent or expired" in peer.ask(Enrol(token="0123456789abcdef0123")).reason
        assert peer.ask(Enrol(token=token)) == Enrolled(state="pending", name="kitchen")
        assert peer.ask(Enrol(token=token)) == Enrolled(state="pending", name="kitchen")
        assert "unknown, spent or expired" in other.ask(Enrol(token=token)).reason
        assert "not approved" in peer.ask(hello()).reason
        cloud.set_state(ROOT, "kitchen", "approved")
        assert isinstance(peer.ask(hello()), Welcome)
        assert isinstance(peer.hear().body, Ack)


def test_without_an_invitation_strangers_get_no_handshake(cloud: Cloud) -> None:
    with raw(cloud) as peer:
        peer.say(hello())
        peer.deaf(cloud, "handshake")
    assert cloud.gateway.counts.received == 0


def test_an_expired_token_is_none(cloud: Cloud) -> None:
    token = cloud.invite(ROOT, "kitchen", "default", 0.001)
    cloud.invite(ROOT, "hall", "default", 600)
    with raw(cloud) as peer:
        assert "expired" in peer.ask(Enrol(token=token)).reason


def test_nobody_takes_the_place_of_another(cloud: Cloud) -> None:
    victim, thief = let_in(cloud, "victim"), let_in(cloud, "thief")
    with raw(cloud, victim) as honest:
        honest.ask(hello())
        place = cloud.gateway.peers[victim.name].routing
        for identity in (b"\x01" + place[1:], b"\0" + place[1:4], place + b"\0", b"victim", bytes.fromhex(victim.name)):
            with raw(cloud, thief, identity) as squatter:
                squatter.say(hello())
                wait_for(lambda: cloud.gateway.counts.refused.pop("frames", 0), "the squatter is counted")
                assert not squatter.socket.poll(20)
        assert cloud.gateway.peers[victim.name].routing == place
        honest.say(Heartbeat(revision=0, reported="0" * 64))
        while honest.hear().body != Ack(shadow=True):  # what was said to it before comes first
            pass


def test_revocation_ends_the_live_session(cloud: Cloud) -> None:
    keys = let_in(cloud, "kitchen")
    with raw(cloud, keys) as peer:
        peer.ask(hello())
        peer.hear()
        monitor = peer.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        cloud.set_state(ROOT, "kitchen", "revoked")
        assert peer.hear().body == Refused(reason="this key was revoked", retry_s=3600)
        assert monitor.poll(20_000), "the connection has not ended"
        peer.socket.disable_monitor()
        assert keys.name not in cloud.gateway.peers
        assert cloud.desk.bearer(cloud.desk.http_token(keys.name)[0]) is None
    with pytest.raises(Refusal, match="was revoked: enrol it with a new key"):
        cloud.set_state(ROOT, "kitchen", "approved")


def test_a_message_counts_once_however_late_it_comes_again(cloud: Cloud) -> None:
    keys = let_in(cloud, "kitchen")
    with raw(cloud, keys) as peer:
        assert isinstance(peer.ask(hello(), session=SESSION), Welcome)
        peer.hear()
        numbers = []
        for seq, previous in ((1, 0), (2, 1), (2, 1), (1, 0), (4, 3), (3, 2), (4, 3), (9, 4), (9, 4)):
            peer.say(Report(previous=previous, transition=step(seq)), session=SESSION, seq=seq)
            numbers.append(peer.hear().ack)
        assert numbers == [1, 2, 2, 2, 2, 3, 4, 9, 9]
    assert [each["revision"] for each in cloud.query("kitchen")["history"]] == [9, 4, 3, 2, 1]


def test_what_could_not_be_stored_is_not_acknowledged(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from manifests.cloud import desk

    keys = let_in(cloud, "kitchen")
    failures = iter([True] * 2)

    def full(*_: Any) -> None:
        if next(failures, False):
            raise OSError(28, "no space left on device")
        store(*_)

    store = desk.note_transitions
    with raw(cloud, keys) as peer:
        peer.ask(hello(), session=SESSION)
        peer.hear()
        monkeypatch.setattr(desk, "note_transitions", full)
        report = Report(previous=0, transition=step())
        assert "send it again" in peer.ask(report, session=SESSION, seq=1).reason
        peer.say(report, session=SESSION, seq=1)
        assert peer.hear().ack == 1
    assert len(cloud.query("kitchen")["history"]) == 1


def test_a_server_that_starts_again_forgets_nothing(tmp_path: Path, cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    kitchen.outbox.add(0, "working", "one")
    wait_for(lambda: not kitchen.outbox.entries, "the first report is in")
    endpoint = cloud.gateway.endpoint
    cloud.stop()
    kitchen.outbox.add(0, "working", "two")
    again = make_cloud(tmp_path, endpoint=endpoint)
    again.start()
    try:
        wait_for(lambda: not kitchen.outbox.entries, "the second report is in")
        assert [each["state"] for each in again.query("kitchen")["history"]] == ["two", "one"]
    finally:
        kitchen.stop()
        again.stop()


def test_a_connection_must_say_hello_first(cloud: Cloud) -> None:
    keys = let_in(cloud, "kitchen")
    with raw(cloud, keys) as peer:
        assert peer.ask(Heartbeat(revision=0, reported=NOTHING)).hello
        assert isinstance(peer.ask(hello()), Welcome)


def test_what_cannot_be_read_is_refused_and_too_much_ends_the_connection(cloud: Cloud) -> None:
    keys = let_in(cloud, "kitchen")
    with raw(cloud, keys) as peer:
        for data in (b"", b"{}", b"\xff" * 100, b"[" * 10_000):
            peer.socket.send(data)
            assert isinstance(peer.hear().body, Refused)
        peer.say(Welcome(name="", token="t", token_expires=datetime(2026, 11, 1, tzinfo=UTC)))
        peer.deaf(cloud, "direction")
        monitor = peer.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        peer.socket.send(b"x" * 300_000)
        assert monitor.poll(20_000), "the connection has not ended"
        peer.socket.disable_monitor()


def test_one_device_that_talks_too_much_is_not_heard_and_others_are(tmp_path: Path) -> None:
    cloud = make_cloud(tmp_path, limits=Limits(rate=0.001, burst=20))
    cloud.start()
    try:
        loud, quiet = let_in(cloud, "loud"), let_in(cloud, "quiet")
        with raw(cloud, loud) as shouting, raw(cloud, quiet) as calm:
            shouting.ask(hello())
            for _ in range(80):
                shouting.say(Heartbeat(revision=0, reported=NOTHING))
            wait_for(lambda: cloud.gateway.counts.refused.get("rate", 0) == 61, "what was too much is counted")
            assert isinstance(calm.ask(hello()), Welcome)
    finally:
        cloud.stop()


def test_a_connection_at_rest_is_the_kernel_s_business(tmp_path: Path) -> None:
    """libzmq's own heartbeats would cost each of N devices time in proportion to N: it goes through all its timers to cancel one."""
    cloud = make_cloud(tmp_path)
    assert cloud.gateway._router.getsockopt(zmq.HEARTBEAT_IVL) == 0
    cloud.start()
    try:
        with raw(cloud, keys := let_in(cloud, "kitchen")) as peer:
            peer.ask(hello())
            accepted = socket.socket(fileno=os.dup(cloud.gateway.peers[keys.name].descriptor))
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
            assert [accepted.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 10, 60_000]
            accepted.close()
    finally:
        cloud.stop()


def test_a_connection_that_says_nothing_any_more_ends(cloud: Cloud) -> None:
    """Unless its descriptor is somebody else's by now."""
    silent, gone, alive = (let_in(cloud, name) for name in ("silent", "gone", "alive"))
    with raw(cloud, silent) as one, raw(cloud, gone) as two, raw(cloud, alive) as three:
        for peer in (one, two, three):
            assert isinstance(peer.ask(hello()), Welcome)
            peer.hear()
        monitor = one.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        peers = cloud.gateway.peers
        peers[gone.name].descriptor = peers[alive.name].descriptor
        peers[silent.name].heard = peers[gone.name].heard = -1e9
        assert monitor.poll(20_000), "the connection has not ended"
        one.socket.disable_monitor()
        assert peers.keys() == {alive.name}
        assert three.ask(Heartbeat(revision=0, reported="0" * 64)) == Ack(shadow=True)


def test_it_stops_listening_before_descriptors_run_out(tmp_path: Path) -> None:
    from manifests.sync.channel import guard

    cloud = make_cloud(tmp_path, limits=Limits(reserve=8, descriptors=guard.count() + 200))
    cloud.start()
    try:
        keys = let_in(cloud, "kitchen")
        with raw(cloud, keys) as peer:
            peer.ask(hello())
            peer.hear()
            with contextlib.ExitStack() as held:
                for _ in range(200):
                    held.enter_context(Path("/dev/null").open())
                wait_for(lambda: cloud.gateway.counts.refused.get("descriptors"), "it has stopped listening")
                peer.say(Heartbeat(revision=0, reported="0" * 64))
                assert peer.hear().body == Ack(shadow=True)
            with raw(cloud, let_in(cloud, "hall")) as new:
                assert isinstance(new.ask(hello()), Welcome)
    finally:
        cloud.stop()


def test_a_desired_state_is_pushed_at_once_and_again_with_each_heartbeat(cloud: Cloud, device: Make) -> None:
    device("hall")
    hall = cloud.query("hall")["id"]
    cloud.download(ROOT, Ask(("model/detector@2.0.0",), device="hall"))
    keys = let_in(cloud, "kitchen")
    assert hall != keys.name
    with raw(cloud, keys) as peer:
        assert peer.ask(hello()).desired is None
        peer.hear()
        from manifests.sync.channel.messages import Shadow

        peer.say(Shadow(reported=Reported()))
        wait_for(lambda: cloud.query("kitchen")["reported"], "the shadow is in")
        cloud.download(ROOT, Ask(("model/detector@2.0.0",), device="kitchen"))
        pushed = peer.hear().body
        assert isinstance(pushed, Wanted)
        assert pushed.desired.revision == 1
        assert pushed.desired.document == cloud.signed_desired(keys.name, 1)
        assert peer.ask(Heartbeat(revision=0, reported=NOTHING)) == pushed
        peer.say(Heartbeat(revision=1, reported="0" * 64))
        assert peer.hear().body == Ack(shadow=True)


def test_http_tokens_are_of_one_device_and_end(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = let_in(cloud, "kitchen")
    token, _ = cloud.desk.http_token(keys.name)
    assert cloud.desk.bearer(token) == keys.name
    for wrong in ("", "a.b.c", token[:-1], token + "0", token.replace(".", ".9", 1), "é.1.é", f"{keys.name}.{10**30}.00"):
        assert cloud.desk.bearer(wrong) is None
    later = time.time() + 601
    monkeypatch.setattr(time, "time", lambda: later)
    assert cloud.desk.bearer(token) is None


def test_a_new_key_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content and then its name are synced before anybody is told of it."""
    synced = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").resolve(), sorted(path.name for path in tmp_path.iterdir())))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    KeyPair.at(tmp_path / "key")
    _, (content, _), (folder, names) = synced
    assert (content.parent, folder, names) == (tmp_path, tmp_path, ["key"])


def test_key_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys = KeyPair.at(path)
    assert KeyPair.load(path) == keys
    assert keys.secret.hex() not in repr(keys)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        KeyPair.load(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(KeyFileError, match="64 hexadecimal digits"):
        KeyPair.load(path)


def test_no_lock_of_the_database_is_lost(tmp_path: Path) -> None:
    """Looking at descriptors must not touch those of files: to close a copy of one releases its locks."""
    import fcntl
    import subprocess
    import sys

    from manifests.sync.channel.guard import Door, hang_up

    with (tmp_path / "database").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        Door(1).close()
        hang_up(file.fileno(), 1)
        attempt = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", attempt, file.name], stderr=subprocess.DEVNULL).returncode == 1
        with socket.create_server(("127.0.0.1", 0)) as listener:
            Door(1).close()
            door = Door(listener.getsockname()[1])
            door.keep(False)
            door.keep(True)
            door.close()
            with socket.create_connection(listener.getsockname(), timeout=20):
                listener.accept()[0].close()
