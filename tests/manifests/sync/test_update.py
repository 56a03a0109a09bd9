"""Updates that go well."""

from __future__ import annotations

from collections.abc import Callable

from manifests.bundle.bundle import Bundle
from manifests.sync.states import State
from tests.manifests.sync.conftest import Rig, wanted

WHOLE = ["RESOLVE", "RESERVE", "FETCH", "STAGED", "PRELOAD", "GATE", "SWAP", "PROBATION", "COMMITTED"]


def test_the_whole_way(rig: Rig, bundles: Callable[..., Bundle]) -> None:
    two = bundles("two", model="1.1.0", weights=b"x" * 10_000, golden=True)
    rig.fetcher.add(two)
    assert rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    assert rig.chain() == WHOLE
    assert rig.run(State.IDLE)
    assert rig.updater.desired.revision == 1
    assert rig.engine.running is not None
    assert sorted(rig.engine.running.golden) == ["pet"]
