"""Where the old plan ends and the new one begins: one timestamp for all streams that meet in a join.

Nobody may have passed it. So the stream that paces the cut stops before a frame and says which; the others stop there too, or say how much
further they are, and then it stops later; once all stand, the cut is told to all. Frames wait meanwhile, a few milliseconds. The slowest
stream that is joined to another paces: with its frame the new plan has what the first frames of the others are joined to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flow.executor.workers import Worker
from flow.plan.value import Plan

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor

PATIENCE_S = 1.0
"""A camera that gives no frame for so long does not pace: all stop where they are."""

NEVER = 1 << 62
"""Streams of files, one of which has ended: the rest of the others belongs to the old plan."""

Steps = Generator[None, None, Any]
"""Work that goes on a bit each time it is asked to."""


def breath(supervisor: Supervisor) -> Steps:
    """A pause in long work, in which results go on; work goes on at once after it."""
    supervisor.poke()
    yield


class Interrupted(Exception):
    """A source died before the cut stood."""


@dataclass(frozen=True, slots=True)
class Group:
    """Streams that meet, and the one that paces."""

    leader: str
    members: tuple[str, ...]
    live: bool = False


def groups(plan: Plan) -> list[Group]:
    """The streams of a plan, those together that meet in any node."""
    of: dict[str, set[str]] = {stream.name: {stream.name} for stream in plan.streams}
    joined: set[str] = set()
    for node in plan.nodes:
        joined.update(node.streams[1:])
        together = set().union(*(of[name] for name in node.streams if name in of))
        for name in together:
            of[name] = together
    rate = {stream.name: stream.fps for stream in plan.streams}
    found = []
    for members in {tuple(sorted(group)) for group in of.values()}:
        leader = min(members, key=lambda name: (name not in joined, rate[name], name))
        found.append(Group(leader, members, any(stream.live for stream in plan.streams if stream.name in members)))
    return sorted(found, key=lambda group: group.members)


@dataclass
class Cutter:
    """Finds the cut of every group. `sources`: worker of each stream; `command` speaks to a worker, `told` hears what sources say."""

    groups: list[Group]
    sources: Mapping[str, Worker]
    command: Callable[..., None]
    rounds: int = 0
    """How often was asked: answers to an earlier question, also of an earlier search, are none."""
    over: set[str] = field(default_factory=set)
    """Streams that have gone over by themselves."""
    _at: dict[tuple[str, int], int] = field(default_factory=dict)
    _held: dict[tuple[str, int], int] = field(default_factory=dict)
    _waits: set[str] = field(default_factory=set)

    def told(self, event: Mapping[str, Any]) -> None:
        """`at`, `held`, `waits` or `crossed` of a source."""
        match event["event"]:
            case "at":
                self._at[event["stream"], event["round"]] = event["pts"]
                self._waits.add(event["stream"])
            case "waits":
                self._waits.add(event["stream"])
            case "held":
                self._held[event["stream"], event["round"]] = event["last"]
            case "crossed":
                self.over.add(event["stream"])

    def choose(self, *, halt: bool = False) -> Steps:
        """The cut (pts) of every stream, 0 where it is simply the next frame; with `halt` all have stopped there. Raises Interrupted."""
        lives = {stream: worker.incarnation for stream, worker in self.sources.items()}
        meetings = {group: self._meet(group) for group in self.groups if halt or len(group.members) > 1}
        cuts = {stream: 0 for group in self.groups if group not in meetings for stream in group.members}
        while meetings:
            for group in list(meetings):
                try:
                    next(meetings[group])
                except StopIteration as end:
                    cuts.update(dict.fromkeys(group.members, end.value))
                    del meetings[group]
            self._look(lives)
            if meetings:
                yield
        patience = time.monotonic() + PATIENCE_S
        while halt and not self._waits | self.over >= set(lives) and time.monotonic() < patience:
            yield
            self._look(lives)
        return cuts

    def _look(self, lives: Mapping[str, int]) -> None:
        if any(worker.incarnation != lives[stream] or worker.gone for stream, worker in self.sources.items()):
            raise Interrupted

    def _meet(self, group: Group) -> Steps:
        at_least = 0
        while True:
            self.rounds += 1
            number = self.rounds
            members = [stream for stream in group.members if stream not in self.over]
            if members != list(group.members) and not (group.live and members):
                return NEVER  # what is left can only meet what the old plan has seen
            leader = group.leader if group.leader in members else members[0]
            self.command(self.sources[leader], do="lead", stream=leader, at_least=at_least, round=number)
            patience = time.monotonic() + PATIENCE_S
            while (leader, number) not in self._at and time.monotonic() < patience and leader not in self.over:
                yield
            at = self._at.get((leader, number))
            asked = [stream for stream in members if at is None or stream != leader]
            for stream in asked:
                self.command(self.sources[stream], do="hold", stream=stream, start=at or 0, round=number)
            while not all((stream, number) in self._held for stream in asked if stream not in self.over):
                yield
            last = max((self._held.get((stream, number), -1) for stream in asked), default=-1)
            if at is None:
                return last + 1
            if last < at:
                return at
            at_least = last + 1
