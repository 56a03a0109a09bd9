"""Rows of the device's outbox as transitions: the update machine writes what it did, the cloud learns what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from manifests.sync.agent.session import WINDOW
from manifests.sync.reported import Outcome, Transition

ENDS: Mapping[str, Outcome] = {"COMMITTED": "done", "FAILED": "failed", "ROLLED_BACK": "failed", "SUPERSEDED": "superseded"}
KINDS: Mapping[str, Outcome] = {"refused": "refused", "reset": "done", "fell-back": "failed"}
SAID = frozenset({"kind", "revision", "state", "at", "code", "reason"})


class Row(Protocol):
    """One row: numbers rise; where rows were given up there are gaps."""

    @property
    def seq(self) -> int: ...

    @property
    def body(self) -> Mapping[str, Any]: ...


class Rows:
    """The outbox of the device's database as the session wants it. `session`: drawn when the database was made;"""

    def __init__(
        self, session: str, waiting: Callable[[int], Sequence[Row]], acknowledge: Callable[[int], None], now: Callable[[], float]
    ) -> None:
        self.session, self._waiting, self._acknowledge, self._now = session, waiting, acknowledge, now
        self._highest = 0

    def first(self) -> int:
        rows = self._waiting(1)
        return rows[0].seq if rows else self._highest + 1

    def after(self, number: int, limit: int) -> Sequence[tuple[int, Transition]]:
        return list(self._behind(number, limit))

    def _behind(self, number: int, limit: int) -> Iterator[tuple[int, Transition]]:
        # What is not acknowledged is at most a window; behind it come the next ones.
        rows = [row for row in self._waiting(limit + WINDOW) if row.seq > number]
        for row in rows[:limit]:
            self._highest = max(self._highest, row.seq)
            yield row.seq, transition(row.body, self._now())

    def acknowledge(self, number: int) -> None:
        self._highest = max(self._highest, number)
        self._acknowledge(number)


def transition(body: Mapping[str, Any], now: float) -> Transition:
    """What a row means. Whatever else it says is evidence."""
    kind = str(body.get("kind", "update"))
    state = str(body.get("state", kind))
    return Transition(
        revision=int(body.get("revision", 0)),
        outcome=ENDS.get(state, "working") if kind == "update" else KINDS.get(kind, "working"),
        state=state.lower()[:64],
        at=datetime.fromtimestamp(float(body.get("at", now)), UTC),
        code=str(body.get("code", ""))[:64].lower(),
        detail=str(body.get("reason", ""))[:4096],
        evidence={key: value for key, value in body.items() if key not in SAID},
    )
