"""The verdict of a probation, and trusted time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.sync.clock import BUILT, TrustedClock
from manifests.sync.health import Expected, Goals, Limits, distance, figures, judge
from manifests.sync.runtime import Health

WELL = Health(
    revision=1, plan="p", state="running", uptime_s=60.0, results={"pet.pets": 600}, rates={"pet.pets": 10.0},
    latency_ms={"pet.pets": {"p50": 40.0}}, errors=0, restarts=0, poison=0, outputs={"pet.pets": {"cat": 300, "dog": 300}}, rss_bytes=1,
)  # fmt: skip
BEFORE = Expected(figures(WELL))


def code(expected: Expected = BEFORE, **changes: Any) -> str | None:
    verdict = judge(replace(WELL, **changes), expected, Limits())
    assert verdict is None or verdict.reason
    return None if verdict is None else verdict.code


def test_as_good_as_before_stays() -> None:
    assert code() is None
    assert code(rates={"pet.pets": 8.5}, latency_ms={"pet.pets": {"p50": 55.0}}, errors=5, restarts=1) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "failed"}, "failed"),
        ({"restarts": 2}, "restarts"),
        ({"poison": 1}, "poison"),
        ({"errors": 30}, "errors"),
        ({"rates": {"pet.pets": 7.9}}, "rate"),
        ({"rates": {}}, "rate"),
        ({"latency_ms": {"pet.pets": {"p50": 61.0}}}, "latency"),
        ({"outputs": {"pet.pets": {"cat": 60, "dog": 540}}}, "drift"),
        ({"outputs": {"pet.pets": {"": 600}}}, "drift"),
    ],
)
def test_worse_goes_back(changes: dict[str, Any], expected: str) -> None:
    assert code(**changes) == expected


def test_nothing_is_said_before_there_is_enough() -> None:
    assert code(uptime_s=1.0, rates={"pet.pets": 0.0}) is None
    assert code(outputs={"pet.pets": {"cat": 20}}) is None
    assert code(results={"pet.pets": 10}, latency_ms={"pet.pets": {"p50": 900.0}}) is None


def test_goals_bound_what_is_asked() -> None:
    """A business that was faster than it needs may become slower, and later up to its goal."""
    goals = Expected(BEFORE.before, {"pet.pets": Goals(rate=5.0, latency_ms=100.0)})
    assert code(goals, rates={"pet.pets": 4.5}, latency_ms={"pet.pets": {"p50": 99.0}}) is None
    assert code(goals, rates={"pet.pets": 3.9}) == "rate"
    assert code(goals, latency_ms={"pet.pets": {"p50": 101.0}}) == "latency"


def test_a_camera_that_was_away_before_asks_for_nothing() -> None:
    assert code(Expected({**BEFORE.before, "rates": {"pet.pets": 0.0}}), rates={"pet.pets": 0.0}) is None


def test_an_output_that_is_gone_or_new_is_not_compared() -> None:
    assert code(rates={"pet.new": 1.0}, results={"pet.new": 600}, latency_ms={}, outputs={"pet.new": {"x": 600}}) is None


def test_what_changes_by_itself_on_this_device_is_no_drift() -> None:
    """Cats by day, dogs by night: a release in the night is not to blame; one that finds nothing is."""
    windows = [{"cat": 100}, {"dog": 100}, {"cat": 90, "dog": 10}]
    usual = Expected(BEFORE.before, windows={"pet.pets": windows})
    assert code(usual, outputs={"pet.pets": {"dog": 600}}) is None
    assert code(usual, outputs={"pet.pets": {"": 600}}) == "drift"


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50), max_size=4)


@given(COUNTS, COUNTS, st.integers(1, 9))
def test_distance_is_one_of_distributions(one: dict[str, int], other: dict[str, int], times: int) -> None:
    assert 0.0 <= distance(one, other) <= 1.0 + 1e-9
    assert distance(one, other) == pytest.approx(distance(other, one))
    assert distance(one, {key: count * times for key, count in one.items()}) == pytest.approx(0.0)


def test_trusted_time_never_asks_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's clock may be ten years off, either way."""
    import time

    at = [0.0]
    clock = TrustedClock(monotonic=lambda: at[0])
    for off in (-10, 10):
        monkeypatch.setattr(time, "time", lambda off=off: BUILT + off * 365 * 86_400.0)
        assert clock.now() == BUILT
    at[0] = 50.0
    assert clock.now() == BUILT + 50
    clock.signed(BUILT + 1000)
    clock.signed(BUILT)
    assert clock.now() == BUILT + 1000
    at[0] = 60.0
    assert clock.now() == BUILT + 1010
    clock.signed(BUILT + 10 * 366 * 86_400.0)
    assert clock.now() == BUILT + 1010, "a signer whose clock is ten years ahead is not followed"
    assert TrustedClock(BUILT + 5, monotonic=lambda: at[0]).now() == BUILT + 5
