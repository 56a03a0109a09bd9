"""Which nodes die on which frames, and which frames are set aside for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from flow.plan.value import Node, Plan

MOST_OPENINGS = 3
MOST_DEATHS = 2
"""Of a node on one frame: then the frame is poison."""


class Blame:
    """Deaths by node and frame. `poison` tells of frames that are set aside, as the report has it."""

    def __init__(self) -> None:
        self.poison: list[dict[str, Any]] = []
        self._deaths: Counter[tuple[str, int, int]] = Counter()
        self._poisoned: set[tuple[str, int, int]] = set()
        self._suspects: dict[tuple[str, int], int] = {}
        """(node, stream): seq of the last frame on which the node died while it ran several."""

    def died(self, node: Node, stream: int, seq: int) -> str | None:
        """A worker has died in a node: `stop` when its businesses stop for that, `poison` when the frame is set aside.

        A frame whose node dies on it twice (once, where the business says skip) is poison. Without a frame (`stream` -1) the node was being
        opened: its businesses stop once that has failed so often that it is no accident.
        """
        self._deaths[node.address, stream, seq] += 1
        deaths = self._deaths[node.address, stream, seq]
        if node.on_error == "stop" or (stream < 0 and deaths > MOST_OPENINGS):
            return "stop"
        if stream >= 0 and deaths >= (1 if node.on_error == "skip" else MOST_DEATHS):
            self._poisoned.add((node.address, stream, seq))
            return "poison"
        return None

    def forgive(self, addresses: Iterable[str]) -> None:
        """These nodes are open: what died before them was an accident."""
        for address in addresses:
            self._deaths.pop((address, -1, -1), None)

    def suspect(self, frames: Iterable[tuple[Node, int, int]]) -> None:
        """A worker has died in a node that ran these frames (node, stream, seq) at once.

        That counts for each, and who was to blame shows when it runs them one at a time.
        """
        for node, stream, seq in frames:
            self._suspects[node.address, stream] = seq
            self._deaths[node.address, stream, seq] += 1

    def poisoned(self, plan: Plan) -> tuple[tuple[int, int, int], ...]:
        """(number of the node in a plan, stream, seq) of all frames that are set aside."""
        return _numbered(plan, self._poisoned)

    def alone(self, plan: Plan) -> tuple[tuple[int, int, int], ...]:
        """In the same way, the frames that a node runs one at a time."""
        return _numbered(plan, [(address, stream, seq) for (address, stream), seq in self._suspects.items()])


def _numbered(plan: Plan, frames: Iterable[tuple[str, int, int]]) -> tuple[tuple[int, int, int], ...]:
    number = {node.address: place for place, node in enumerate(plan.nodes)}
    return tuple(sorted((number[address], stream, seq) for address, stream, seq in frames if address in number))
