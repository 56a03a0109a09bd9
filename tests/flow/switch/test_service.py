"""Agent and engine in two processes, or two threads: calls, refusals, and what happens when either goes away."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.switch.service import MOST_CALLERS, Service
from manifests.sync import wire
from manifests.sync.engine import Engine
from manifests.sync.runtime import Admission, Compared, Health, Release, RuntimeRefusal, Shadowed, Staging, Switched, Trial, Verification

RELEASE = Release(7, "ab" * 32, (Path("/store/7/pet.yaml"),), {"pet": Path("/store/7/golden")})
SWITCHED = Switched(
    7, "new", "old", ("pet.boxes",), ("pet.count",), {"pet.x": "it keeps nothing"}, (), (), {"cam": 3}, {"cam": 4}, 80, 0, 1 << 30
)
SHADOWED = Shadowed(7, "ended", {"pet.pets": Compared(3, 0.5, {"p50": 1.0}, {"p50": 2.0})}, 10, 0.25, 1 << 20, "it raised")
HEALTH = Health(
    7, "new", "running", 1.5, {"pet.pets": 3}, {"pet.pets": 25.0}, {"pet.pets": {"p50": 1.0}}, 0, 0, 0, {"pet.pets": {"dog": 2}}, 1
)


class Fake:
    """A runtime that notes what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.loading = threading.Event()
        self.loaded = threading.Event()

    def admit(self, release: Release) -> Admission:
        self.calls.append(release)
        return Admission(release.revision, True, True, 1, 2)

    def stage(self, release: Release) -> Staging:
        self.loading.set()
        assert self.loaded.wait(60)
        return Staging(release.revision, "new", True)

    def verify(self, revision: int) -> Verification:
        raise RuntimeRefusal(f"expected revision 7 to be staged, got {revision}")

    def shadow(self, trial: Trial) -> Shadowed:
        self.calls.append(trial)
        return SHADOWED

    def switch(self, revision: int, *, keep_previous: bool = True) -> Switched:
        self.calls.append(keep_previous)
        return SWITCHED

    def abort(self, revision: int) -> Switched | None:
        return None

    def settle(self, revision: int) -> None:
        raise ZeroDivisionError("a mistake of the engine")

    def health(self) -> Health:
        return HEALTH


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def service(fake: Fake, tmp_path: Path) -> Iterator[Service]:
    service = Service(fake, tmp_path / "engine")
    yield service
    fake.loaded.set()
    service.close()


@pytest.fixture
def engine(service: Service) -> Iterator[Engine]:
    engine = Engine(service.path)
    yield engine
    engine.close()


def test_every_call_arrives_as_it_was_made(engine: Engine, fake: Fake) -> None:
    assert engine.admit(RELEASE) == Admission(7, True, True, 1, 2)
    assert engine.switch(7, keep_previous=False) == SWITCHED
    assert fake.calls == [RELEASE, False]
    assert engine.shadow(Trial(RELEASE, 0.5, 0.1, 3.0)) == SHADOWED
    assert fake.calls.pop() == Trial(RELEASE, 0.5, 0.1, 3.0)
    assert engine.abort(7) is None
    assert engine.health() == HEALTH


def test_refusals_and_mistakes_are_told_and_the_engine_lives_on(engine: Engine) -> None:
    with pytest.raises(RuntimeRefusal, match="expected revision 7 to be staged, got 8"):
        engine.verify(8)
    with pytest.raises(RuntimeRefusal, match="ZeroDivisionError: a mistake of the engine"):
        engine.settle(7)
    assert engine.health() == HEALTH


def test_health_need_not_wait_for_a_load(engine: Engine, fake: Fake) -> None:
    staged: list[Staging] = []
    loader = threading.Thread(target=lambda: (staged.append(engine.stage(RELEASE)), engine.close()))
    loader.start()
    assert fake.loading.wait(60)
    assert engine.health() == HEALTH
    assert not staged
    fake.loaded.set()
    loader.join()
    assert staged == [Staging(7, "new", True)]


def test_only_its_owner_can_open_the_socket(service: Service) -> None:
    assert stat.S_IMODE(service.path.stat().st_mode) == 0o600


def test_no_engine_is_said_and_one_that_comes_back_is_found(service: Service, engine: Engine, fake: Fake) -> None:
    assert engine.health() == HEALTH
    service.close()
    with pytest.raises(ConnectionError, match="expected an answer to `health`, got"):
        engine.health()
    with pytest.raises(ConnectionError, match="No such file"):
        engine.health()
    again = Service(fake, service.path)
    assert engine.health() == HEALTH
    again.close()


def test_an_engine_that_does_not_answer_is_left(service: Service, fake: Fake) -> None:
    engine = Engine(service.path, timeout_s={"stage": 0.05})
    with pytest.raises(ConnectionError, match=r"an answer to `stage` within 0\.05 s, got none"):
        engine.stage(RELEASE)
    fake.loaded.set()
    assert engine.health() == HEALTH, "and its late answer is not taken for another one's"
    engine.close()


def test_too_many_callers_are_sent_away(service: Service) -> None:
    callers = [socket.socket(socket.AF_UNIX) for _ in range(MOST_CALLERS + 1)]
    for caller in callers:
        caller.settimeout(30)
        caller.connect(str(service.path))
    assert callers[-1].recv(1) == b""
    wire.send(callers[0], {"call": "health"})
    assert wire.receive(callers[0]) is not None
    for caller in callers:
        caller.close()


def test_what_is_no_call_is_refused(service: Service) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(service.path))
        for message, said in [
            ({"call": "reboot"}, "expected one of admit, stage"),
            ({}, "expected one of"),
            ({"call": "stage", "argument": {"revision": "x"}}, "revision"),
            ({"call": "switch"}, "value"),
        ]:
            wire.send(caller, message)
            answer = wire.receive(caller)
            assert answer is not None
            assert said in answer["refused"]


@given(st.binary(max_size=64))
def test_bytes_from_outside_are_read_or_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            while wire.receive(ours) is not None:
                pass
        except wire.WireError:
            pass


def test_a_message_that_is_too_long_is_not_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire.LENGTH.pack(wire.MOST_BYTES + 1))
        with pytest.raises(wire.WireError, match="expected at most"):
            wire.receive(ours)
    with pytest.raises(wire.WireError, match="expected at most"):
        wire.send(ours, {"x": "y" * wire.MOST_BYTES})
