"""A frame that has been processed, until its outputs are safe."""

from __future__ import annotations

from dataclasses import dataclass

from flow.ledger import Block
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from flow.worker.sinks import ResultsTarget


@dataclass(slots=True)
class Settlement:
    """What is to be noted once results and entries up to a frame survive this worker: turns taken and given, source position, state.

    `notice`: how many bounds a source has sent of its own accord, if this is one.
    """

    taken: list[tuple[InEdge, int]]
    given: list[tuple[OutEdge, int]]
    results: list[tuple[ResultsTarget, int]]
    next_seq: int = -1
    last_pts: int = -1
    state: bytes | None = None
    notice: int = 0

    def safe(self, *, within: bool = False) -> bool:
        """Whether what came of a frame survives this worker; `within`: but for what consumers may keep until they hear of the end."""
        return all((within and (edge.inner or edge.rereads)) or edge.durable(turn) for edge, turn in self.given) and all(
            target.rows.published >= row for target, row in self.results
        )

    def note(self, block: Block, chain: str, *, state_area: int | None, reads: bool) -> None:
        """Writes it all down, or nothing. `chain`: key of its words; `reads`: whether it has a source."""
        number = block.get(f"{chain}.state") + 1
        if self.state and state_area is not None:
            block.save_state(state_area, number, self.state)
        with block.together():
            if self.state is not None:
                block.set(f"{chain}.state", number)
            for out, turn in self.given:
                out.settle(turn)
            if reads:
                block.set(f"{chain}.next_seq", self.next_seq)
                block.set(f"{chain}.last_pts", self.last_pts)
            if self.notice:
                block.set(f"{chain}.noticed", self.notice)
            for inbound, turn in self.taken:
                inbound.settle(turn)
