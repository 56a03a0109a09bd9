"""Frames of several streams that go through equal nodes together, each between the two ends of its own chain.

A chain takes a frame in and leaves it in hand; here the frames in hand go through their nodes side by side, and where they meet equal nodes
one call does all of them. Then each chain publishes and settles its own. At most one frame of a chain is in hand, so order within a
stream needs no care, and no edge holds more than for a chain by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flow.ledger import Block
from flow.plan import value
from flow.worker.chain import ChainRunner
from flow.worker.node import NodeRunner
from flow.worker.passing import Passing
from ops.contract import OperatorError

Meeting = tuple[NodeRunner, dict[str, Any]]
"""A node that runs frames together, and what it reads of one frame."""


class BatchRunner:
    """Runs what the chains of one batch have in hand. `alone`: (node, stream, seq) that a node runs by themselves."""

    def __init__(
        self, batch: value.Batch, chains: Sequence[ChainRunner], block: Block, numbers: Mapping[str, int],
        alone: frozenset[tuple[int, int, int]],
    ) -> None:  # fmt: skip
        self.chains, self.block, self.alone = chains, block, alone
        self.most, self.delay_ns = batch.most, round(batch.delay_ms * 1e6)
        self.group_of = {numbers[address]: place for place, group in enumerate(batch.nodes) for address in group}
        """By the number of a node, which of the equal ones it is among."""
        self.leaders = self._leaders(len(batch.nodes))
        self._first = 0
        """Whose frame goes first in the next round."""
        for chain in chains:
            chain.batched = True

    def _leaders(self, groups: int) -> list[NodeRunner | None]:
        """For each group of equal nodes the one whose operator runs the frames of all."""
        leaders: list[NodeRunner | None] = [None] * groups
        for chain in self.chains:
            for node in chain.nodes:
                group = self.group_of.get(node.number)
                if group is not None and leaders[group] is None and isinstance(node, NodeRunner):
                    leaders[group] = node
        return leaders

    def step(self) -> bool:
        """Runs the frames in hand, if there are enough or the first has waited long enough; whether it did."""
        waiting = self._waiting()
        if self._wait_ms(waiting) > 0:
            return False
        taken = waiting[: self.most]
        self._first = self.chains.index(taken[-1].chain) + 1
        self._run(taken)
        for passing in taken:
            self._publish(passing)
        return True

    def wait_ms(self) -> float:
        """How long the frames in hand may still wait for others; infinite when there are none."""
        return self._wait_ms(self._waiting())

    def _wait_ms(self, waiting: Sequence[Passing]) -> float:
        if not waiting:
            return float("inf")
        if not self.delay_ns or len(waiting) >= min(self.most, sum(not chain.ended for chain in self.chains)):
            return 0.0
        oldest = min(passing.since_ns for passing in waiting)
        return max(0.0, (oldest + self.delay_ns - time.monotonic_ns()) / 1e6)

    def _waiting(self) -> list[Passing]:
        """What is in hand, beginning behind the chain that was served last, so that all have their turn."""
        first = self._first % len(self.chains)
        return [chain.in_hand for chain in (*self.chains[first:], *self.chains[:first]) if chain.in_hand is not None]

    def _run(self, taken: Sequence[Passing]) -> None:
        ways = [(passing, self._way(passing)) for passing in taken]
        meetings = [(passing, way, met) for passing, way in ways if (met := next(way, None)) is not None]
        while meetings:
            group = self.group_of[meetings[0][2][0].number]
            here = [one for one in meetings if self.group_of[one[2][0].number] == group]
            rest = [one for one in meetings if self.group_of[one[2][0].number] != group]
            self._together(group, [(passing, node, given) for passing, _, (node, given) in here])
            meetings = rest + [(passing, way, met) for passing, way, _ in here if (met := next(way, None)) is not None]

    def _way(self, passing: Passing) -> Iterator[Meeting]:
        """A frame's way through its chain, which stops where a node runs frames together."""
        chain, entry, values = passing.chain, passing.entry, passing.values
        frame = entry.frame(chain.streams[entry.stream])
        for node in chain.nodes:
            if chain.spares(node, entry):
                continue
            if node.number in self.group_of and isinstance(node, NodeRunner) and (node.number, entry.stream, entry.seq) not in self.alone:
                given = node.given(values)
                if given is not None:
                    yield node, given
                    continue
            chain.run_node(node, frame, entry, values)

    def _together(self, group: int, frames: Sequence[tuple[Passing, NodeRunner, dict[str, Any]]]) -> None:
        """One call for all of them; when it fails, each is run alone, and only the guilty one pays."""
        leader, block = self.leaders[group], self.block
        assert leader is not None, "a node of this group has just said that it is there"
        at = [passing.entry.frame(passing.chain.streams[passing.entry.stream]) for passing, _, _ in frames]
        if len(frames) > 1:
            started = time.monotonic_ns()
            block.enter_many([(node.number, passing.entry.stream, passing.entry.seq) for passing, node, _ in frames], started)
            try:
                results = leader.operator.run_many(at, [given for _, _, given in frames])
                if len(results) != len(frames):
                    raise OperatorError(f"{type(leader.operator).__name__}.run_many: expected {len(frames)} values, got {len(results)}")
                for (_, node, _), result in zip(frames, results, strict=True):
                    node.check_result(result)
            except Exception:  # an operator may raise anything; who is to blame shows when each is run by itself
                results = None
            finally:
                block.leave()
            if results is not None:
                share = (time.monotonic_ns() - started) // len(frames)
                for place, ((passing, node, _), result) in enumerate(zip(frames, results, strict=True)):
                    node.accept(result, passing.values, share, seq=passing.entry.seq, calls=int(place == 0))
                return
        for (passing, node, _), frame in zip(frames, at, strict=True):
            passing.chain.run_node(node, frame, passing.entry, passing.values)

    def _publish(self, passing: Passing) -> None:
        """Its chain goes on with it; it is in hand no more."""
        self.block.begin()
        try:
            passing.chain.publish(passing.entry, passing.values, passing.settlement)
            passing.met.release()
            passing.chain.in_hand = None
        finally:
            self.block.end()


def runners(
    batches: Sequence[value.Batch], chains: Sequence[ChainRunner], block: Block, numbers: Mapping[str, int],
    alone: frozenset[tuple[int, int, int]],
) -> list[BatchRunner]:  # fmt: skip
    """A runner for each batch of a lane."""
    return [BatchRunner(batch, [chain for chain in chains if chain.chain.id in batch.chains], block, numbers, alone) for batch in batches]
