"""Whether a new release does as well as the one before it: the verdict of a probation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manifests.sync.runtime import Health

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a release may do on probation. Shares are of one; nothing is said of rate, latency and drift before there is enough to go by."""

    settle_s: float = 5.0
    rate: float = 0.8
    """Of what the release before it reached, or of the goal where that is less."""
    latency: float = 1.5
    """Times the median before it; the goal, where that is more."""
    errors: float = 0.02
    """More errors in a hundred results than before."""
    restarts: int = 1
    drift: float = 0.3
    """Total variation distance between what is found now and what this device has found so far."""
    enough: int = 50
    """Results of one output."""


@dataclass(frozen=True, slots=True)
class Goals:
    """What a business wants of one output: results a second, milliseconds."""

    rate: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a release goes back: a word for programs, and expected and got for people."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a release is compared with. `windows` are what each output found on this device in some spans of time, the last one last."""

    before: Mapping[str, Any] = field(default_factory=dict)
    goals: Mapping[str, Goals] = field(default_factory=dict)
    windows: Mapping[str, Sequence[Counts]] = field(default_factory=dict)


def figures(health: Health) -> dict[str, Any]:
    """What is kept of the engine's figures from before a switch."""
    total = sum(health.results.values())
    return {
        "rates": dict(health.rates),
        "latency_ms": {name: dict(each) for name, each in health.latency_ms.items()},
        "errors": health.errors / max(1, total + health.errors),
        "outputs": {name: dict(each) for name, each in health.outputs.items()},
    }


def judge(health: Health, expected: Expected, limits: Limits) -> Verdict | None:
    """Why the release has to go back; None as long as nothing is wrong."""
    if health.state == "failed":
        return Verdict("failed", f"expected the engine to run, got: {'; '.join(health.problems) or 'it failed'}")
    if health.poison:
        return Verdict("poison", f"expected no frame to kill its worker twice, got {health.poison}")
    if health.restarts > limits.restarts:
        return Verdict("restarts", f"expected at most {limits.restarts} worker(s) to die, got {health.restarts}")
    results = sum(health.results.values())
    share, before = health.errors / max(1, results + health.errors), float(expected.before.get("errors", 0.0))
    if results + health.errors >= limits.enough and share > before + limits.errors:
        return Verdict("errors", f"expected at most {before + limits.errors:.1%} of frames to fail, got {share:.1%}")
    if health.uptime_s < limits.settle_s:
        return None
    return _slow(health, expected, limits) or _late(health, expected, limits) or _drifted(health, expected, limits)


def distance(one: Counts, other: Counts) -> float:
    """Total variation distance of two distributions given as counts: 0 equal, 1 nothing in common."""
    left, right = sum(one.values()), sum(other.values())
    if not left or not right:
        return 0.0
    return sum(abs(one.get(key, 0) / left - other.get(key, 0) / right) for key in {*one, *other}) / 2


def _slow(health: Health, expected: Expected, limits: Limits) -> Verdict | None:
    for name, reached in expected.before.get("rates", {}).items():
        if name not in health.rates and name not in health.results:
            continue  # an output that this release does not have
        goal = expected.goals.get(name, Goals()).rate
        wanted = limits.rate * (reached if goal is None else min(goal, reached))
        if (got := health.rates.get(name, 0.0)) < wanted:
            return Verdict("rate", f"{name}: expected at least {wanted:.1f} results a second, got {got:.1f}")
    return None


def _late(health: Health, expected: Expected, limits: Limits) -> Verdict | None:
    for name, latency in health.latency_ms.items():
        if health.results.get(name, 0) < limits.enough or "p50" not in latency:
            continue
        goal = expected.goals.get(name, Goals()).latency_ms
        before = expected.before.get("latency_ms", {}).get(name, {}).get("p50")
        if goal is None and before is None:
            continue
        wanted = max(goal or 0.0, limits.latency * before) if before is not None else limits.latency * (goal or 0.0)
        if latency["p50"] > wanted:
            return Verdict("latency", f"{name}: expected at most {wanted:.1f} ms in the median, got {latency['p50']:.1f} ms")
    return None


def _drifted(health: Health, expected: Expected, limits: Limits) -> Verdict | None:
    for name, counts in health.outputs.items():
        known = expected.before.get("outputs", {}).get(name)
        windows = [each for each in expected.windows.get(name, ()) if sum(each.values()) >= limits.enough] or ([known] if known else [])
        usual: dict[str, int] = {}
        for window in windows:
            for key, count in window.items():
                usual[key] = usual.get(key, 0) + count
        if sum(counts.values()) < limits.enough or sum(usual.values()) < limits.enough:
            continue
        # What changes by itself on this device, as from day to night, is no fault of the release.
        wanted = max(limits.drift, 1.5 * max(distance(window, usual) for window in windows))
        if (got := distance(counts, usual)) > wanted:
            return Verdict(
                "drift", f"{name}: expected results like those before, at most {wanted:.2f} away, got {got:.2f} ({_change(counts, usual)})"
            )
    return None


def _change(now: Counts, usual: Counts) -> str:
    """What changed most: `cat 80% -> 2%`."""
    left, right = max(1, sum(usual.values())), max(1, sum(now.values()))
    most = max({*now, *usual}, key=lambda key: (abs(now.get(key, 0) / right - usual.get(key, 0) / left), key))
    return f"{most} {usual.get(most, 0) / left:.0%} -> {now.get(most, 0) / right:.0%}"
