"""Signed metadata are asked for now and then: a cloud that holds back what is new is noticed, and what runs goes on."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from manifests.sync.agent.http import HttpError
from manifests.sync.agent.metadata import AGAIN_S, EVERY_S, JITTER, KeptMetadata
from manifests.trust.store import Fetch, folder_fetch
from tests.manifests.sync.agent.conftest import NOW, Site


@pytest.fixture
def agent(site: Site) -> Any:
    """The device's agent, which has a cloud that serves the office's metadata."""
    return connected(site, folder_fetch(site.office.metadata))


def connected(site: Site, cloud: Fetch) -> Any:
    agent: Any = site.agent
    agent._link = SimpleNamespace(greeted=True)
    agent._metadata = KeptMetadata(agent._metadata.trust, agent.store, agent._clock.now, cloud)
    agent._clock.signed(NOW.timestamp())
    return agent


def look(agent: Any) -> list[Any]:
    """It is time for a look; gives what the cloud is told of it."""
    before = len(agent.updater.reports(1000))
    agent._metadata._due = time.monotonic()
    agent._look_at_metadata()
    return [dict(report.body) for report in agent.updater.reports(1000)[before:]]


def test_what_a_device_knows_is_in_the_inventory(site: Site, agent: Any) -> None:
    assert agent._describer.reported(()).metadata is None
    assert look(agent) == []
    known = agent._describer.reported((), agent._metadata.figures()).metadata
    assert known.targets == 1
    assert known.expires == NOW + timedelta(days=7), "that of the timestamp"
    assert 0 <= known.checked.timestamp() - NOW.timestamp() < 60
    again = KeptMetadata(agent._metadata.trust, agent.store, agent._clock.now, None)
    assert again.figures() == known, "and is known after a restart"


def test_a_freeze_is_noticed_said_once_and_ends(site: Site, agent: Any) -> None:
    assert look(agent) == []
    later = NOW + timedelta(days=8)
    agent._clock.signed(later.timestamp())
    (told,) = look(agent)
    assert (told["kind"], told["code"]) == ("refused", "expired")
    assert look(agent) == []
    assert "expired" in agent._problems()[0]
    site.office.freshen(later)
    assert look(agent) == []
    assert agent._problems() == []


def test_what_is_forged_is_told_and_what_was_known_stays(site: Site) -> None:
    served = folder_fetch(site.office.metadata)
    agent = connected(site, served)
    assert look(agent) == []
    agent._metadata._cloud = lambda name, most: b"{}" if name == "timestamp.json" else served(name, most)
    (told,) = look(agent)
    assert told["code"] == "metadata"
    assert agent._metadata.figures().targets == 1


def test_a_cloud_that_is_away_is_asked_again_soon(site: Site) -> None:
    def away(name: str, most: int) -> bytes | None:
        raise HttpError("no route")

    agent = connected(site, away)
    assert look(agent) == []
    assert 0 < agent._metadata._due - time.monotonic() <= AGAIN_S * (1 + JITTER)
    assert not agent._metadata.due()


def test_a_fleet_does_not_ask_with_one_voice(site: Site, agent: Any) -> None:
    waits = []
    for _ in range(20):
        assert look(agent) == []
        waits.append(agent._metadata._due - time.monotonic())
    assert min(waits) >= EVERY_S * (1 - JITTER) * 0.99
    assert max(waits) <= EVERY_S * (1 + JITTER)
    assert max(waits) - min(waits) > 0.1 * EVERY_S
