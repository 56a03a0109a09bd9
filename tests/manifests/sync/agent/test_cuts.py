"""What an agent keeps beside its database, cut after every call and on a full disk: key, cloud, signed metadata, the engine's files.

Whatever is cut: its key is the old one or none, its cloud and each file of metadata the old one or the new one, whole, and the next agent
starts and goes on.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import certifi
import pytest

from manifests.store.effects import Effects
from manifests.sync.agent import membership
from manifests.sync.agent.agent import Agent, Settings
from manifests.sync.agent.link import Link
from manifests.sync.agent.membership import Membership, MembershipError
from manifests.sync.channel.curve import KeyFileError, KeyPair
from manifests.trust.repository import Repository
from tests.manifests.store.full import Full
from tests.manifests.store.power import Recorder
from tests.manifests.store.test_power import STORE, Violation, cuts, versions
from tests.manifests.sync.conftest import place

__all__ = ["place"]

NOW = datetime(2026, 11, 20, tzinfo=UTC)
AUTHORITY = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"


class Office:
    """The metadata as they were at four times, and the invitations of one cloud at two addresses."""

    def __init__(self, folder: Path) -> None:
        repository = Repository.create(folder / "office", NOW)
        self.times = [self._files(repository)]
        repository.freshen(NOW, always=True)
        self.times.append(self._files(repository))
        repository.renew(NOW)
        self.times.append(self._files(repository))
        repository.renew(NOW, replace_online=True)
        self.times.append(self._files(repository))
        self.root = self.times[0]["1.root.json"]
        self.newest = [max(version(name) for name in self.times[-1] if role in name) for role in ("root", "snapshot", "targets")]
        self.one, self.two = folder / "one.join", folder / "two.join"
        for path in (self.one, self.two):
            member = Membership(endpoint=f"tcp://{path.stem}:1", key="ab" * 32, http=f"https://{path.stem}", root=self.root.decode())
            membership.write(path, member.model_copy(update={"token": "t" * 20, "authority": AUTHORITY}))

    @staticmethod
    def _files(repository: Repository) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in repository.metadata.iterdir()}

    def at(self, time: int) -> Callable[[str, int], bytes | None]:
        return lambda name, most: self.times[time].get(name)


def version(name: str) -> int:
    return int(name.partition(".")[0]) if name[0].isdigit() else 0


@dataclass
class Device:
    """A device that joins a cloud. `promised` is what nobody may find otherwise once a step is over."""

    store: Path
    office: Office
    effects: Effects
    promised: dict[str, Any] = field(default_factory=dict)

    def steps(self) -> list[Callable[[], None]]:
        metadata = [partial(self.take, time) for time in range(len(self.office.times))]
        one, two = partial(self.join, self.office.one), partial(self.join, self.office.two)
        return [one, self.reach, *metadata[:2], self.run, self.let_in, *metadata[2:], two]

    def join(self, invitation: Path) -> None:
        member = membership.joined(self.store, invitation, self.effects)
        assert member is not None
        self.promised["cloud"] = member.endpoint

    def let_in(self) -> None:
        member = membership.joined(self.store, None)
        assert member is not None
        membership.write(self.store / "keys" / membership.NAME, member.model_copy(update={"token": ""}), self.effects)
        self.promised["asks"] = False

    def reach(self) -> None:
        with self.agent() as agent:
            member = membership.joined(self.store, None)
            assert member is not None
            link = Link(agent.store, agent.keys, member, agent._mirror, session="", now=lambda: 0.0, say=lambda _: None)
            link.connection.stop()
            link.connection.run()
            link.stop()

    def take(self, time: int) -> None:
        with self.agent() as agent:
            self._refresh(agent, time)

    def run(self) -> None:
        """The engine is started: one that ends at once."""
        with self.agent() as agent:
            self._spawn(agent)

    def go_on(self) -> None:
        """The next agent starts, has an engine, and comes to know the newest metadata."""
        with self.agent() as agent:
            self._spawn(agent)
            self._refresh(agent, -1)
        root, _, snapshot, targets = self.promised["metadata"]
        assert [root, snapshot, targets] == self.office.newest

    def _refresh(self, agent: Agent, time: int) -> None:
        assert agent._metadata is not None
        agent._metadata.take(self.office.at(time))
        self.promised["metadata"] = versions(self.store / "trust")

    @staticmethod
    def _spawn(agent: Agent) -> None:
        os.close(agent.process._begin()[0])
        assert agent.process._child is not None
        agent.process._child.wait()

    @contextmanager
    def agent(self) -> Iterator[Agent]:
        """An agent that was started, and takes no step."""
        agent = Agent(Settings(self.store, ["true"], root=self.office.root), lambda _: None, self.effects)
        self.promised["device"] = agent.keys.name
        try:
            yield agent
        finally:
            agent.process.stop()
            agent._files.close()
            agent.store.close()


def check(store: Path, promised: Mapping[str, Any]) -> None:
    """What must hold whatever was cut, before anything is mended."""
    member = membership.joined(store, None)
    if "cloud" in promised and (member is None or (promised["cloud"] == "tcp://two:1" != member.endpoint)):
        raise Violation("it does not know its cloud any more")
    if member is not None and member.token and not promised.get("asks", True):
        raise Violation("a device that was let in asks again")
    key = store / "keys" / "device.key"
    if "device" in promised and (not key.exists() or KeyPair.load(key).name != promised["device"]):
        raise Violation("nobody knows this device any more")
    if any(have < known for have, known in zip(versions(store / "trust"), promised.get("metadata", ()), strict=False)):
        raise Violation("metadata that were trusted are older now")


@pytest.fixture
def office(place: Path) -> Office:
    return Office(place)


def record(place: Path, office: Office, forgets: frozenset[str] = frozenset()) -> Recorder:
    effects = Recorder(place, forgets)
    device = Device(place / STORE, office, effects)
    for step in device.steps():
        step()
        effects.promise(**device.promised)
    return effects


def test_every_cut_leaves_an_agent_that_goes_on(place: Path, office: Office) -> None:
    effects = record(place, office)
    count = 0
    for promised in cuts(effects, place / "cut"):
        store = place / "cut" / STORE
        check(store, promised)
        Device(store, office, Effects()).go_on()
        check(store, promised)
        count += 1
    assert count > 80


@pytest.mark.parametrize("lie", ["sync", "sync_folder .", "sync_folder store", "sync_folder store/keys", "sync_folder store/trust"])
def test_a_disk_that_does_not_sync_breaks_the_promise(place: Path, office: Office, lie: str) -> None:
    """So a sync that is missing would be found."""
    effects = record(place, office, frozenset({lie}))
    with pytest.raises((Violation, KeyFileError, MembershipError)):
        check_all(effects, place / "cut")


def check_all(effects: Recorder, target: Path) -> None:
    for promised in cuts(effects, target):
        check(target / STORE, promised)


def test_a_disk_that_is_full_at_every_write(place: Path, office: Office) -> None:
    """What does not fit is an error of the disk; nothing that was there is worse for it, and with room again it goes on."""
    store, kept = place / STORE, place / "kept"
    device = Device(store, office, Effects())
    met = 0
    for number in range(len(device.steps())):
        if store.exists():
            shutil.copytree(store, kept, dirs_exist_ok=True)
        for at in itertools.count():
            shutil.rmtree(store, ignore_errors=True)
            if number:
                shutil.copytree(kept, store)
            full = Full()
            full.left = at
            tried = Device(store, office, full, dict(device.promised))
            step = tried.steps()[number]
            with suppress(OSError, sqlite3.OperationalError):
                step()
            full.left = None
            check(store, tried.promised)
            if not full.met:
                break
            met += 1
            step()
            tried.go_on()
            check(store, tried.promised)
        device.promised = tried.promised
    assert met > 50
