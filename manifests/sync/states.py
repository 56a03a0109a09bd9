"""The states of an update, how long each may take, and what of an update outlives a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from manifests.store.store import Store


class State(StrEnum):
    """Where an update is. Each is written down before anything is done in it."""

    IDLE = "IDLE"
    RESOLVE = "RESOLVE"
    RESERVE = "RESERVE"
    FETCH = "FETCH"
    STAGED = "STAGED"
    SHADOW = "SHADOW"
    PRELOAD = "PRELOAD"
    GATE = "GATE"
    SWAP = "SWAP"
    PROBATION = "PROBATION"
    COMMITTED = "COMMITTED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"


BEFORE_SWAP = frozenset({State.RESOLVE, State.RESERVE, State.FETCH, State.STAGED, State.SHADOW, State.PRELOAD, State.GATE})
"""Nothing that runs has changed: a newer desired state takes over at once."""
AFTER_SWAP = frozenset({State.SWAP, State.PROBATION})
FINAL = frozenset({State.COMMITTED, State.ROLLED_BACK, State.FAILED, State.SUPERSEDED})

DEADLINES = {
    State.RESOLVE: 3_600.0,
    State.RESERVE: 600.0,
    State.FETCH: 86_400.0,
    State.STAGED: 7 * 86_400.0,
    State.SHADOW: 1_800.0,
    State.PRELOAD: 1_800.0,
    State.GATE: 7 * 86_400.0,
    State.SWAP: 300.0,
    State.PROBATION: 900.0,
    State.ROLLING_BACK: 300.0,
}
"""Seconds of trusted time; SHADOW and PROBATION have their own duration on top. IDLE and final states wait for nothing."""

MAX_TRANSITIONS = 32
MAX_BOOTS = 2
"""Starts of the agent in the middle of one update; with one more, the update is to blame."""

TRANSIENT = frozenset({"fetch", "digest", "space", "runtime", "gate", "io", "deadline", "expired"})
"""Codes of failures that say nothing about what was to be installed."""
BACKOFF = {True: (30.0, 3_600.0), False: (900.0, 86_400.0)}
"""transient: (first wait, longest wait) until the same desired state is tried again; doubled each time, never for good."""


@dataclass(frozen=True, slots=True)
class Machine:
    """An update under way. `generation` is what it makes ready, `order` what the engine calls it.

    `before` are the engine's figures from before the switch, `before_order` what it called the release that
    ran then; `code` and `reason` say why it goes back.
    """

    state: State = State.IDLE
    revision: int = 0
    digest: str = ""
    source: str = ""
    generation: int | None = None
    order: int = 0
    entered: float = 0.0
    deadline: float | None = None
    transitions: int = 0
    boots: int = 0
    lost: int = 0
    before_order: int = -1
    code: str = ""
    reason: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Next:
    """Where an update goes: `changes` of the machine, `report` for the cloud, `within` in the same transaction."""

    state: State
    code: str = ""
    reason: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    within: Callable[[], None] | None = None


class Pause(Exception):
    """Not now: what is away may come back before the deadline. `code` is what it fails with then."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class Failed(Exception):
    """The update cannot go on: it fails before the switch, and goes back after it. `report`: figures for the cloud."""

    def __init__(self, code: str, reason: str, *, report: Mapping[str, Any] | None = None) -> None:
        self.code, self.report = code, report or {}
        super().__init__(reason)


def load(store: Store) -> Machine:
    """The machine as it was last written down."""
    row = store.database.rows("SELECT state, value FROM machine WHERE id = 1")
    if not row:
        return Machine()
    value = json.loads(row[0][1])
    return replace(Machine(**value), state=State(row[0][0]))


def save(store: Store, machine: Machine) -> None:
    """Writes it down, inside a transaction."""
    value = asdict(machine)
    del value["state"]
    store.database.change("INSERT OR REPLACE INTO machine (id, state, value) VALUES (1, ?, ?)", machine.state.value, json.dumps(value))


def backoff(count: int, code: str) -> float:
    """Seconds until a desired state that failed `count` times is tried again."""
    first, longest = BACKOFF[code in TRANSIENT]
    return float(min(longest, first * 2.0 ** min(count - 1, 30)))
