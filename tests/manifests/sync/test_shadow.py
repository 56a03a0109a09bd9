"""A trial before the switch: what it must show, what becomes of it, and that nothing else happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from manifests.bundle.bundle import Bundle
from manifests.sync.desired import Shadow
from manifests.sync.runtime import Compared, RuntimeRefusal, Shadowed
from manifests.sync.shadow import shortcomings
from manifests.sync.states import State
from tests.manifests.sync.conftest import Rig, wanted
from tests.manifests.sync.test_kills import WHOLE, settled

TRIED = [*WHOLE[:4], "SHADOW", *WHOLE[4:]]
GOOD = Shadowed(1, "done", {"pet.pets": Compared(120, 0.97, {"p50": 40.0}, {"p50": 44.0})}, 10, 0.1, 1 << 20)


@pytest.fixture
def two(rig: Rig, bundles: Callable[..., Bundle]) -> Bundle:
    bundle = bundles("two", model="1.1.0", weights=b"two" * 1000)
    rig.fetcher.add(bundle)
    return bundle


def test_it_is_tried_out_before_it_is_loaded(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow(share=0.2, cpu=0.5, seconds=300)))
    rig.engine.faults["shadow"] = [replace(GOOD, state="running")] * 3
    rig.run(State.SHADOW)
    rig.run(State.COMMITTED)
    assert rig.chain() == TRIED
    calls = [call for call in rig.engine.calls if call != "health"]
    assert calls[calls.index("shadow") :][:6] == ["shadow"] * 4 + ["admit", "stage"]
    trial = rig.engine.tried
    assert trial is not None
    assert (trial.share, trial.cpu, trial.seconds) == (0.2, 0.5, 300)
    reports = {body.get("state"): body for body in rig.bodies()}
    assert reports["PRELOAD"]["shadow"]["outputs"]["pet.pets"]["agreement"] == 0.97
    settled(rig, two, 1)


def test_what_falls_short_fails_with_its_figures_and_nothing_is_switched(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow(agreement=0.98)))
    rig.engine.calls.clear()
    rig.run(State.FAILED)
    assert rig.chain() == [*TRIED[:5], "FAILED"]
    last = rig.last()
    assert last["code"] == "shadow"
    assert last["reason"] == "pet.pets: expected an agreement of at least 0.98, got 0.97 over 120 frames"
    assert last["shadow"]["memory_bytes"] == 1 << 20
    assert not {"stage", "switch"} & set(rig.engine.calls)
    settled(rig, two, 0)


def test_an_engine_that_refuses_fails_it(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow()))
    rig.engine.faults["shadow"] = [RuntimeRefusal("expected room for it, got none")]
    rig.run(State.FAILED)
    assert (rig.last()["code"], rig.last()["reason"]) == ("shadow", "expected room for it, got none")


@pytest.mark.parametrize("power", [False, True], ids=["agent", "power"])
def test_a_cut_during_a_trial_tries_again(rig: Rig, two: Bundle, power: bool) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow()))
    rig.engine.faults["shadow"] = [replace(GOOD, state="running")] * 3
    rig.run(State.SHADOW)
    rig.updater.step()
    rig.restart(power=power)
    rig.run(State.COMMITTED)
    assert rig.engine.tried is not None
    assert rig.chain() == TRIED
    settled(rig, two, 1)


def test_an_engine_that_dies_during_a_trial_runs_again_before_it_is_tried(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow()))
    rig.run(State.SHADOW, tick=0.1)
    rig.lose_engine()
    rig.updater.engine_is_new()
    rig.run(State.COMMITTED)
    assert rig.engine.tried is not None
    assert rig.chain() == TRIED
    settled(rig, two, 1)


def test_a_newer_state_ends_a_trial(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow(seconds=86_400)))
    rig.engine.faults["shadow"] = [replace(GOOD, state="running")] * 1000
    rig.run(State.SHADOW)
    rig.submit(wanted(two, 2))
    rig.run(State.SUPERSEDED)
    rig.run(State.COMMITTED)
    assert "abort" in rig.engine.calls
    assert rig.chain() == [*TRIED[:5], "SUPERSEDED", *WHOLE]
    settled(rig, two, 2)


def test_a_trial_that_never_ends_is_over_in_time(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1, shadow=Shadow(seconds=60)))
    rig.engine.faults["shadow"] = [replace(GOOD, state="running")] * 100_000
    rig.run(State.FAILED, steps=2000)
    assert rig.last()["code"] == "deadline"
    assert "abort" in rig.engine.calls


@pytest.mark.parametrize(
    ("tried", "limits", "why"),
    [
        (GOOD, Shadow(), ""),
        (replace(GOOD, outputs={}), Shadow(), ""),
        (replace(GOOD, state="ended", why="it raised"), Shadow(), "for 60 s, got: it raised"),
        (GOOD, Shadow(frames=121), "pet.pets: expected at least 121 frames to compare, got 120"),
        (
            replace(GOOD, outputs={"pet.pets": Compared(3, 1.0, missed={"inputs": 40, "only_runs": 2})}),
            Shadow(),
            "to compare, got 3 (results not compared: 40 joined other frames, 2 of what runs alone)",
        ),
        (replace(GOOD, apart=("pet.drawn",)), Shadow(), ""),
        (replace(GOOD, outputs={}, apart=("pet.drawn",)), Shadow(), "expected an output of records among those that change, got pet.drawn"),
        (GOOD, Shadow(latency=1.1), ""),
        (GOOD, Shadow(latency=1.05), "pet.pets: expected a median latency of at most 1.05 times 40 ms, got 44 ms"),
        (GOOD, Shadow(memory_bytes=1 << 20), ""),
        (GOOD, Shadow(memory_bytes=1000), "expected at most 1000 bytes of memory beside what runs, got 1048576"),
    ],
)
def test_what_a_trial_must_show(tried: Shadowed, limits: Shadow, why: str) -> None:
    said = "; ".join(shortcomings(tried, limits))
    assert why in said
    assert bool(said) == bool(why)
