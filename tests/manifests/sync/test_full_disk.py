"""A disk without room, at every write and at every start: what runs goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from manifests.bundle.bundle import Bundle
from manifests.store.reset import is_requested, request_reset
from manifests.store.store import Store
from manifests.sync.runtime import RuntimeRefusal
from manifests.sync.states import AFTER_SWAP, State, load
from tests.manifests.store.full import Full
from tests.manifests.sync.conftest import Rig, reach, wanted
from tests.manifests.sync.test_kills import settled

STATES = (State.IDLE, State.FETCH, State.GATE, State.SWAP, State.PROBATION, State.COMMITTED, State.ROLLED_BACK)


@pytest.mark.parametrize(("state", "refused"), [*((state, 0) for state in STATES), (State.PROBATION, 1)])
def test_a_start_on_a_full_disk(rig: Rig, bundles: Callable[..., Bundle], state: State, refused: int) -> None:
    """What was active runs, whatever was under way; nothing that the disk still names is removed; and all is written when there is room."""
    rig.effects = full = Full()
    rig.restart()
    bundle = bundles("two", model="1.1.0", weights=b"two" * 100)
    rig.fetcher.add(bundle)
    reach(rig, bundle, state)
    active, full.left = rig.updater.desired.revision, 0
    rig.engine.faults["stage"] = [RuntimeRefusal("no")] * refused  # so that it goes back, as far as only memory knows
    rig.restart(power=True)
    for _ in range(20):
        rig.updater.step()
        rig.time.at += 5.0
    assert rig.engine.running is not None
    assert "the disk is full" in rig.updater.full
    rig.stop()
    with Store(rig.root) as store:
        role = store.generations.role("active")
        assert role is not None
        assert role.desired.revision == active
        assert store.generations.is_sound(role)
        if load(store).state in AFTER_SWAP:
            previous = store.generations.role("previous")
            assert previous is not None
            assert store.generations.is_sound(previous)
    rig.lose_engine()
    rig.start()
    full.left = None
    while rig.updater.desired.revision < 1 or rig.updater.full:
        rig.updater.step()
        rig.time.at += 400.0
    settled(rig, bundle, 1)


def test_an_engine_that_dies_while_the_disk_is_full_is_started_again(rig: Rig) -> None:
    rig.effects = full = Full()
    rig.restart()
    rig.run(State.IDLE)
    full.left = 0
    rig.lose_engine()
    rig.updater.engine_is_new()
    rig.updater.step()
    assert rig.engine.running is not None
    assert rig.updater.full
    full.left = None
    rig.time.at += 60.0
    rig.updater.step()
    assert not rig.updater.full
    rig.stop()
    rig.start()
    assert rig.store.fact("running") == rig.engine.running.revision, "what was in memory is on the disk"


def test_a_broken_database_on_a_full_disk_leaves_the_factory(rig: Rig) -> None:
    rig.stop()
    (rig.root / "state.db").write_bytes(b"broken" * 500)
    rig.effects = full = Full()
    full.left = 0
    rig.lose_engine()
    rig.start()
    rig.updater.step()
    assert rig.engine.running is not None
    assert rig.updater.full
    full.left = None
    rig.run(State.IDLE)
    rig.time.at += 60.0
    rig.updater.step()
    rig.restart()
    assert rig.store.lost is None
    assert "database-lost" in [body["kind"] for body in rig.bodies()]


def test_a_reset_on_a_full_disk_is_obeyed_again_after_a_cut(rig: Rig, bundles: Callable[..., Bundle]) -> None:
    bundle = bundles("two", model="1.1.0", weights=b"two" * 100)
    rig.fetcher.add(bundle)
    reach(rig, bundle, State.COMMITTED)
    request_reset(rig.root, "broken")
    rig.effects = full = Full()
    full.left = 0
    rig.restart(power=True)
    assert rig.updater.desired.revision == 0
    assert is_requested(rig.store)
    full.left = None
    rig.restart(power=True)
    assert rig.updater.desired.revision == 0
    assert not is_requested(rig.store)


def test_the_disk_is_full_at_every_write(rig: Rig, bundles: Callable[..., Bundle]) -> None:
    """Nothing raises, what runs goes on, and the update succeeds once there is space."""
    full = Full()
    rig.effects = full
    rig.restart()
    codes = set()
    for at in itertools.count():
        bundle = bundles(f"full-{at}", model=f"1.{at + 1}.0", weights=b"%d" % at * 100)
        rig.fetcher.add(bundle)
        assert rig.submit(wanted(bundle, at + 1))
        full.left, full.once, full.met = at, bool(at % 2), False
        after = 0
        while after < 5 and rig.updater.desired.revision <= at:
            rig.updater.step()
            rig.time.at += 40.0
            after += full.met
        assert rig.engine.running is not None
        full.left = None
        while rig.updater.desired.revision <= at:
            rig.updater.step()
            rig.time.at += 400.0
        settled(rig, bundle, at + 1)
        codes |= {body["code"] for body in rig.bodies() if "code" in body}
        rig.updater.acknowledge(rig.updater.reports(1000)[-1].seq)
        if not full.met:
            break
    assert at > 40
    assert codes == {"space"}
