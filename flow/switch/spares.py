"""Workers of the previous plan that are kept with their models loaded, so that the way back is short."""

from __future__ import annotations

import time
from dataclasses import dataclass

from devices.cpu import available_memory
from flow.executor.workers import Worker
from flow.switch.cut import Steps
from flow.wiring import Wiring

LEAVE_S = 2.0
LEAST_FREE = 64 << 20
"""Bytes of memory that must stay available: below, nothing is kept."""


@dataclass
class Spare:
    """A process (or thread) that rests. `work`: the nodes that its models were loaded for."""

    work: frozenset[str]
    worker: Worker


class Spares:
    """Lends a new worker the process of an old one that did the same work."""

    def __init__(self) -> None:
        self.resting: list[Spare] = []

    def keep(self, worker: Worker) -> bool:
        """Lets a worker whose chains have all ended rest with what it has loaded; False where memory is short or it is gone."""
        if not worker.ready or worker.gone or worker.dead() is not None or available_memory() < LEAST_FREE:
            return False
        worker.send({"kind": "rest"})
        self.resting.append(Spare(_work(worker, Wiring(worker.plan)), worker))
        return True

    def lend(self, worker: Worker, wiring: Wiring) -> None:
        """The worker will start in the process of a spare that did the same work, if there is one."""
        for spare in self.resting:
            if spare.work == _work(worker, wiring) and spare.worker.dead() is None:
                self.resting.remove(spare)
                worker.succeeds = spare.worker
                return

    def release(self) -> Steps:
        """Nothing is kept any more."""
        resting, self.resting = self.resting, []
        for spare in resting:
            spare.worker.dismiss()
        give_up = time.monotonic() + LEAVE_S
        for spare in resting:
            while not spare.worker.join(0.0) and time.monotonic() < give_up:
                yield
            spare.worker.kill()
            spare.worker.close()

    def close(self) -> None:
        """At the end of the run."""
        for spare in self.resting:
            spare.worker.dismiss()
            spare.worker.join(LEAVE_S)
            spare.worker.kill()
            spare.worker.close()
        self.resting.clear()


def _work(worker: Worker, wiring: Wiring) -> frozenset[str]:
    return frozenset(address for chain in wiring.lanes[worker.seat.lane].chains for address in wiring.chains[chain].nodes)
