"""Which nodes die on which frames, and which frames are set aside for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from flow.plan.value import Node, Plan

MOST_OPENINGS = 3


class Blame:
    """Deaths by node and frame. `poison` tells of frames that are set aside, as the report has it."""

    def __init__(self) -> None:
        self.poison: list[dict[str, Any]] = []
        self._deaths: Counter[tuple[str, int, int]] = Counter()
        self._poisoned: set[tuple[str, int, int]] = set()

    def died(self, node: Node, stream: int, seq: int) -> str | None:
        """A worker has died in a node: `stop` when its businesses stop for that, `poison` when the frame is set aside.

        A frame whose node dies on it twice (once, where the business says skip) is poison. Without a frame (`stream` -1) the node was being
        opened: its businesses stop once that has failed so often that it is no accident.
        """
        self._deaths[node.address, stream, seq] += 1
        deaths = self._deaths[node.address, stream, seq]
        if node.on_error == "stop" or (stream < 0 and deaths > MOST_OPENINGS):
            return "stop"
        if stream >= 0 and deaths >= (1 if node.on_error == "skip" else 2):
            self._poisoned.add((node.address, stream, seq))
            return "poison"
        return None

    def forgive(self, addresses: Iterable[str]) -> None:
        """These nodes are open: what died before them was an accident."""
        for address in addresses:
            self._deaths.pop((address, -1, -1), None)

    def of(self, plan: Plan) -> tuple[tuple[int, int, int], ...]:
        """(number of the node in a plan, stream, seq) of all frames that are set aside."""
        number = {node.address: place for place, node in enumerate(plan.nodes)}
        return tuple(sorted((number[address], stream, seq) for address, stream, seq in self._poisoned if address in number))
