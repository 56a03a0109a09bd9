"""The engine as the agent sees it: eight questions and orders, each revisioned and idempotent.

`flow` implements it, the agent calls it. Frames flow whether or not anybody calls. A second call with the same revision gives the first
call's answer; one with an older revision than was last staged is refused with RuntimeRefusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


class RuntimeRefusal(Exception):
    """The engine will not do it: what was asked, what it found instead, what to do next. Nothing has changed."""


@dataclass(frozen=True, slots=True)
class Release:
    """What one generation runs: manifests (YAML) in a folder that nobody changes, and the digest of all of it.

    `golden` maps a business to its golden clip: a folder of `clip.json`, frames and expected results.
    """

    revision: int
    digest: str
    manifests: tuple[Path, ...]
    golden: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a release fits this device, from its plan alone: nothing is loaded or allocated.

    `beside`: it fits beside what runs now. Otherwise the switch is sequential and costs about `gap_s` seconds of frames.
    `problems` says expected, got, where, what to do; empty where it is admitted.
    """

    revision: int
    admitted: bool
    beside: bool
    ram_bytes: int
    shared_memory_bytes: int
    gap_s: float = 0.0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Staging:
    """A release loaded and warmed beside what runs. `plan` is the digest of its plan."""

    revision: int
    plan: str
    ready: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """The golden clips through what was staged: cases compared, and those whose results are others than expected."""

    revision: int
    passed: bool
    compared: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Switched:
    """The proof of a switch. Nodes by their manifest names; for each stream the last frame of the old plan and the first of the new one.

    `reset` maps a name to why its state could not be carried over. `gap_ns` is the longest time between two results of one output around
    the cut; `lost` counts frames dropped for the switch (0 unless it was sequential).
    """

    revision: int
    plan: str
    previous: str
    kept: tuple[str, ...]
    carried: tuple[str, ...]
    reset: Mapping[str, str]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    last_old: Mapping[str, int]
    first_new: Mapping[str, int]
    gap_ns: int
    lost: int
    memory_peak_bytes: int


@dataclass(frozen=True, slots=True)
class Health:
    """What the ledger says since the last switch, or since the start. Rates (results a second) and latencies (ms) by `business.output`.

    `revision` is below 0 in an engine that was started and given nothing yet. `restarts` counts workers that died, `errors` operators
    that raised, `poison` frames set aside. `outputs` holds, by `business.output`, counts of results by what they said (labels, empty
    lists), from which drift is told.
    """

    revision: int
    plan: str
    state: Literal["running", "staged", "switching", "failed"]
    uptime_s: float
    results: Mapping[str, int]
    rates: Mapping[str, float]
    latency_ms: Mapping[str, Mapping[str, float]]
    errors: int
    restarts: int
    poison: int
    outputs: Mapping[str, Mapping[str, int]]
    rss_bytes: int
    problems: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """What of a release is other than what runs, beside it: on this share of frames, for at most this share of a core, so many seconds."""

    release: Release
    share: float = 0.1
    cpu: float = 0.25
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Compared:
    """One output of both, over results that both have given of the same frames.

    `agreement` is a mean from 0 to 1. `missed` counts results that could not be compared, by cause: `inputs` (of both, but in a join they
    met other frames), `only_runs` and `only_tried` (of one alone), `unread` (came faster than they were compared), `unfinished` (the other
    one was still to come at the end). Latencies (ms, `p50` and `p99`) are from capture to result; the trial's workers step back for all
    others, so its own are those of a device that has little time for it.
    """

    frames: int
    agreement: float
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    trial_latency_ms: Mapping[str, float] = field(default_factory=dict)
    missed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A trial as it stands; `done` after its time, `ended` before it, with `why`. Nothing of it runs then.

    `outputs` by `business.output`; none where the release changes no result that runs. `apart` names those that it changes and that cannot
    be compared, since they are no records. `every`: one frame, or span of time, in so many was given to it. `cpu` is the share of a core
    that it took, `memory_bytes` what its workers had to themselves, at most.
    """

    revision: int
    state: Literal["running", "done", "ended"]
    outputs: Mapping[str, Compared] = field(default_factory=dict)
    every: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0
    why: str = ""
    apart: tuple[str, ...] = ()


class Runtime(Protocol):
    """A running engine. Every method may raise RuntimeRefusal; a lost connection raises ConnectionError."""

    def admit(self, release: Release) -> Admission:
        """Whether it would fit."""

    def stage(self, release: Release) -> Staging:
        """Loads and warms it beside what runs; replaces an earlier one that was staged and not switched to."""

    def verify(self, revision: int) -> Verification:
        """Replays the golden clips of what is staged."""

    def shadow(self, trial: Trial) -> Shadowed:
        """Tries out what a release changes beside what runs, before it is staged. The first call begins it, later ones say how it goes.

        `stage`, `switch` and `abort` end it.
        """

    def switch(self, revision: int, *, keep_previous: bool = True) -> Switched:
        """Cuts over to what is staged. With `keep_previous` the old plan stays warm, where memory allows, until `settle` or `stage`."""

    def abort(self, revision: int) -> Switched | None:
        """Before the switch: drops what is staged (None). After it, before `settle`: goes back to the previous plan the same way."""

    def settle(self, revision: int) -> None:
        """The release has proven itself: what was kept warm of the previous one is given up."""

    def health(self) -> Health:
        """How it goes."""
