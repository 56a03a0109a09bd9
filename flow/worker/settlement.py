"""A frame that has been processed, until its outputs are safe."""

from __future__ import annotations

from dataclasses import dataclass

from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from flow.worker.sinks import ResultsTarget


@dataclass(slots=True)
class Settlement:
    """What is to be noted once results and entries up to a frame survive this worker: turns taken and given, source position, state."""

    taken: list[tuple[InEdge, int]]
    given: list[tuple[OutEdge, int]]
    results: list[tuple[ResultsTarget, int]]
    next_seq: int = -1
    last_pts: int = -1
    state: bytes | None = None
