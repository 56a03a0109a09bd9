"""What a worker is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from flow.link.ring import RingShape
from flow.pool import PoolShape
from flow.wiring import LinkId


@dataclass(frozen=True, slots=True)
class PoolGrant:
    """A pool for one chain of the worker. The message that carries it brings its data and table descriptors."""

    shape: PoolShape
    chain: int
    row: int
    address: str
    port: str
    epoch: int = 0
    """The plan that its owner begins to use it with."""


@dataclass(frozen=True, slots=True)
class RingGrant:
    """One end of a ring. The message that carries it brings the ring, and bell and word of the worker at the other end."""

    link: LinkId
    shape: RingShape
    sending: bool


@dataclass(frozen=True, slots=True)
class LinkOrder:
    """One end of a ZeroMQ link to be opened, at which address. `sending`: the producer's end."""

    link: LinkId
    address: str
    sending: bool


@dataclass(frozen=True, slots=True)
class ResultsOrder:
    """A sink whose results the executor itself receives: how many have come already, and the last seq of each stream among them.

    A message of its own brings the ring that they go over, and bell and word of the executor.
    """

    sink: int
    seen: dict[str, int]
    arrived: int


@dataclass(frozen=True, slots=True)
class Passage:
    """From one plan to the next: its epoch and digest, edges that end and begin, and for each stream that has been cut where (pts).

    `halted`: sources stop there until they are told to go over.
    """

    epoch: int
    plan: str
    ends: tuple[int, ...]
    begins: tuple[int, ...]
    cuts: dict[str, int]
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Farewell:
    """To a worker that leaves: nodes whose state others take over, and sinks that others go on with."""

    handed: tuple[str, ...]
    sinks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Setup:
    """Lane, replica, and what was known when the worker started. `poison`: (node, stream, seq), frames that a node is spared.

    `alone`: frames, told in the same way, that a node died on together with others: it runs each of them alone. `names` are the words of
    the worker's ledger block, `streams` the numbers of streams; both follow from the plan where none are given. `epoch` is that of the
    plan's frames, `passage` the way to the next one. `held`: chains that wait for what they inherit.
    """

    lane: int
    replica: int
    incarnation: int
    control: str
    frames: int | None
    poison: tuple[tuple[int, int, int], ...] = ()
    alone: tuple[tuple[int, int, int], ...] = ()
    stopped: tuple[str, ...] = ()
    results: tuple[ResultsOrder, ...] = ()
    """Sinks that the executor itself receives."""
    names: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    epoch: int = 0
    passage: Passage | None = None
    held: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    """Sinks that others still write."""
    farewell: Farewell | None = None
    beside: bool = False
    """Whether others carry frames while it gets ready, and it none."""


SETUP = TypeAdapter(Setup)
GRANT = TypeAdapter(PoolGrant)
RING = TypeAdapter(RingGrant)
ORDER = TypeAdapter(LinkOrder)
RESULTS = TypeAdapter(ResultsOrder)
PASSAGE = TypeAdapter(Passage)
FAREWELL = TypeAdapter(Farewell)


def as_json(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The value as plain JSON types."""
    return adapter.dump_python(value, mode="json")
