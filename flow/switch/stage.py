"""A plan that is made ready beside the running one, and how far the change to it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flow.executor.results import ResultsInbox
from flow.executor.workers import Worker
from flow.plan.value import Chain
from flow.switch.cut import Cutter
from flow.switch.succession import Succession
from flow.switch.terms import Terms
from flow.wiring import Seat, Wiring
from flow.worker.setup import Farewell, Passage


@dataclass
class Stage:
    """`workers` are the new ones, `wiring` is that of the new plan, `both` that of everything that runs during the change.

    `beside`: the new workers are loaded while the old ones run; else these are stopped first.
    """

    succession: Succession
    wiring: Wiring
    both: Wiring
    epoch: int
    workers: dict[Seat, Worker]
    inboxes: dict[int, ResultsInbox]
    new_terms: Terms
    both_terms: Terms
    passage: Passage
    beside: bool = True
    peak: int = 0
    problem: str | None = None
    final: Terms | None = None
    """What workers that run on know in the end: the new plan, or after all the old one."""
    cutter: Cutter | None = None
    starting: bool = False
    """Whether its workers are being loaded after those that leave were stopped."""
    asleep: bool = False
    """Whether what leaves has been stopped to make room."""
    cut: bool = False
    """Whether frames go over: there is no way back."""
    last_word: dict[str, Any] = field(default_factory=dict)
    """What workers that run on are told in the end."""
    waits: dict[str, int] = field(default_factory=dict)
    """Stream -> incarnation of its source's worker that waits at the cut."""
    crossed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Stream -> last seq of the old plan, first of the new one."""
    parts: set[tuple[int, int]] = field(default_factory=set)
    left: set[int] = field(default_factory=set)
    """Chains that have nothing left to do; `parts`: with their replica."""
    prepared: set[Seat] = field(default_factory=set)
    passed: set[Seat] = field(default_factory=set)
    retired: set[Seat] = field(default_factory=set)
    inherited: set[int] = field(default_factory=set)

    def kept(self, seat: Seat) -> bool:
        return seat.lane in self.succession.kept

    def leaving(self, seat: Seat) -> bool:
        return seat.lane in self.succession.leaving

    def coming(self, seat: Seat) -> bool:
        return seat.lane in self.succession.coming

    def chains(self, lane: int) -> list[Chain]:
        """The chains of a lane."""
        return [self.both.chains[chain] for chain in self.both.lanes[lane].chains]

    def seat(self, chain: int) -> Seat:
        """The worker of a chain that has no replicas."""
        return Seat(self.both.lane_of[chain].id, 0)

    @property
    def farewell(self) -> Farewell:
        """What workers that leave are told."""
        handed = tuple(heir.ancestor for heir in self.succession.heirs.values() if heir.ancestor is not None)
        return Farewell(handed, tuple(self.succession.sinks.values()))

    def knows_both(self, worker: Worker) -> bool:
        """Whether a worker was started after the switch began."""
        return worker.plan is self.both_terms.plan

    def left_by(self, chain: int, replica: int) -> None:
        """A replica of a chain has nothing left to do."""
        self.parts.add((chain, replica))
        if all((chain, each) in self.parts for each in range(self.both.replicas(chain))):
            self.left.add(chain)
