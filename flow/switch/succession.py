"""What a new plan has in common with the running one: which workers run on, what ends and begins, who inherits from whom.

A lane runs on where it does the same work on what comes the same way: then its worker is not touched but for edges to consumers that
are others now. The new plan is numbered anew: what runs on keeps its numbers, and no number is ever used twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any

from flow.plan.value import Chain, Edge, Lane, Node, Plan, Sink, Stream

NODE_WORDS = frozenset({"names", "businesses", "where", "on_error", "deadline_ms", "manifest", "why"})
SINK_WORDS = frozenset({"id", "version", "where"})
"""What may change of a node or sink while it runs on."""


class Misfit(Exception):
    """A plan that cannot follow the running one: expected, got, what to do next."""


@dataclass(frozen=True, slots=True)
class Heir:
    """A stateful node of the new plan: whose state it takes over (address in the old plan), or why it starts empty."""

    name: str
    ancestor: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Succession:
    """`after` is the new plan in the running one's numbers; `both` is everything that runs during the change.

    `kept`, `leaving`, `coming` are lanes, `ends` and `begins` edges. `sinks` maps sinks of coming lanes to those of leaving lanes whose
    output they go on with; `heirs` holds stateful nodes of coming lanes, by address.
    """

    before: Plan
    after: Plan
    both: Plan
    kept: frozenset[int]
    leaving: frozenset[int]
    coming: frozenset[int]
    ends: tuple[int, ...]
    begins: tuple[int, ...]
    sinks: Mapping[int, int]
    heirs: Mapping[str, Heir]

    @property
    def streams(self) -> list[Stream]:
        """Streams that run on."""
        names = {stream.name for stream in self.after.streams}
        return [stream for stream in self.before.streams if stream.name in names]

    def before_leaving(self) -> list[Edge]:
        """Edges on the way to lanes that leave."""
        edges, ends = self.before.edges, {chain for lane in self.before.lanes if lane.id in self.leaving for chain in lane.chains}
        while found := {edge.producer for edge in edges if edge.consumer in ends} - ends:
            ends |= found
        return [edge for edge in edges if edge.consumer in ends]


class Numbers:
    """Numbers for what is new: of lanes, chains, edges and sinks, none used twice in one run."""

    def __init__(self, plan: Plan) -> None:
        self.lane = count(1 + max((lane.id for lane in plan.lanes), default=-1))
        self.chain = count(1 + max((chain.id for chain in plan.chains), default=-1))
        self.edge = count(1 + max((edge.id for edge in plan.edges), default=-1))
        self.sink = count(1 + max((sink.id for sink in plan.sinks), default=-1))


def succeed(before: Plan, wanted: Plan, numbers: Numbers, *, broken: Collection[int] = ()) -> Succession:
    """How `wanted` follows the running plan. `broken`: lanes that shall not run on, for they have failed.

    Raises Misfit where a source would have to be opened a second time while it is still open.
    """
    if (wanted.workers, wanted.link) != (before.workers, before.link):
        raise Misfit(
            f"expected a plan for {before.workers} with links {before.link}, as the run has it, got {wanted.workers} with {wanted.link}"
        )
    lanes = _matched(before, wanted, broken)
    _check_sources(before, wanted, lanes, broken)
    after = _numbered(before, wanted, lanes, numbers)
    kept = frozenset(lanes.values())
    old, new = {edge.id for edge in before.edges}, {edge.id for edge in after.edges}
    coming = frozenset(lane.id for lane in after.lanes) - kept
    return Succession(
        before, after, _both(before, after), kept, frozenset(lane.id for lane in before.lanes) - kept, coming,
        tuple(sorted(old - new)), tuple(sorted(new - old)), _sinks(before, after, coming), _heirs(before, after, coming, broken),
    )  # fmt: skip


# ---- which lanes run on


def _matched(before: Plan, wanted: Plan, broken: Collection[int]) -> dict[int, int]:
    """Lane of the new plan -> lane of the running plan that runs on as it."""
    chain_of = {_content(before, chain): chain.id for chain in before.chains}
    lane_of = {chain: lane for lane in before.lanes for chain in lane.chains}
    chains = {chain.id: chain_of.get(_content(wanted, chain)) for chain in wanted.chains}
    lanes: dict[int, int] = {}
    for lane in wanted.lanes:
        own = [chains[chain] for chain in lane.chains]
        if own and own[0] is not None:
            old = lane_of[own[0]]
            same = (old.device, old.threads, old.replicas) == (lane.device, lane.threads, lane.replicas)
            same = same and _batches(lane, chains) == _batches(old, {chain: chain for chain in old.chains})
            if same and set(own) == set(old.chains) and old.id not in broken:
                lanes[lane.id] = old.id
    while misfits := [number for number in lanes if not _fed_alike(before, wanted, number, lanes, chains)]:
        for number in misfits:
            del lanes[number]
    return lanes


def _batches(lane: Lane, chains: Mapping[int, int | None]) -> list[Any]:
    """What runs together in a lane, its chains by these numbers."""
    return [(tuple(chains[one] for one in batch.chains), replace(batch, chains=())) for batch in lane.batches]


def _content(plan: Plan, chain: Chain) -> Any:
    """What a chain does, whatever it is called."""
    stream = plan.stream(chain.stream) if chain.stream is not None else None
    nodes = tuple(_words(plan.node(address), NODE_WORDS) for address in chain.nodes)
    sinks = tuple(_words(sink, SINK_WORDS) for sink in plan.sinks if sink.id in chain.sinks)
    return repr(stream), nodes, sinks


def _words(value: Node | Sink, without: Collection[str]) -> str:
    return repr([(field.name, getattr(value, field.name)) for field in fields(value) if field.name not in without])


def _fed_alike(before: Plan, wanted: Plan, number: int, lanes: Mapping[int, int], chains: Mapping[int, int | None]) -> bool:
    """Whether a lane's frames come the same way; and go the same way where it has replicas, whose turns a new edge could not count."""
    lane = next(one for one in wanted.lanes if one.id == number)
    kept = {chain: chains[chain] for one in wanted.lanes if one.id in lanes for chain in one.chains}

    def way(edge: Edge) -> Any:
        return edge.refs, edge.capacity, edge.payload, edge.policy, edge.queue

    for chain in lane.chains:
        new = [(kept.get(edge.producer, -1), way(edge)) for edge in wanted.edges if edge.consumer == chain]
        if new != [(edge.producer, way(edge)) for edge in before.edges if edge.consumer == chains[chain]]:
            return False
        if lane.replicas > 1:
            out = {(kept.get(edge.consumer, -1), repr(way(edge))) for edge in wanted.edges if edge.producer == chain}
            if out != {(edge.consumer, repr(way(edge))) for edge in before.edges if edge.producer == chains[chain]}:
                return False
    return True


def _check_sources(before: Plan, wanted: Plan, lanes: Mapping[int, int], broken: Collection[int]) -> None:
    running = {stream.name: stream for stream in before.streams}
    lost = {chain.stream for lane in before.lanes if lane.id in broken for chain in before.chains if chain.id in lane.chains}
    kept = set(lanes.values())
    lane_of = {chain.id: lane.id for lane in before.lanes for chain in before.chains if chain.id in lane.chains}
    source = {chain.stream: lane_of[chain.id] for chain in before.chains if chain.stream is not None}
    for stream in wanted.streams:
        old = running.get(stream.name)
        if old is None or stream.name in lost or source[stream.name] in kept:
            continue
        if old != stream:
            raise Misfit(
                f"stream {stream.name}: expected {old.source} as it runs, got {stream.source} or other settings; a stream is not "
                "replaced while it runs: give the new one a name of its own, or start the run anew"
            )
        raise Misfit(
            f"stream {stream.name}: expected a plan in which every source has a worker of its own, got one where it shares one with "
            "other work; make both plans with live=True"
        )


# ---- numbers


def _numbered(before: Plan, wanted: Plan, lanes: Mapping[int, int], numbers: Numbers) -> Plan:
    """The new plan, in which what runs on has the numbers it has."""
    chain_of = {_content(before, chain): chain for chain in before.chains}
    running = {chain: lane.id for lane in before.lanes for chain in lane.chains}
    chains: dict[int, int] = {}
    sinks: dict[int, int] = {}
    for lane in wanted.lanes:
        for chain in (one for one in wanted.chains if one.id in lane.chains):
            old = chain_of.get(_content(wanted, chain)) if lane.id in lanes else None
            chains[chain.id] = next(numbers.chain) if old is None else old.id
            sinks.update(zip(chain.sinks, (next(numbers.sink) for _ in chain.sinks) if old is None else old.sinks, strict=True))
    lane_ids = {lane.id: lanes[lane.id] if lane.id in lanes else next(numbers.lane) for lane in wanted.lanes}
    kept = {chain for chain, number in chains.items() if running.get(number) in set(lanes.values())}
    edges, groups = [], {}
    for edge in wanted.edges:
        old_edge = next(
            (
                one
                for one in before.edges
                if {edge.producer, edge.consumer} <= kept
                and (one.producer, one.consumer) == (chains[edge.producer], chains[edge.consumer])
            ),
            None,
        )  # fmt: skip
        number = next(numbers.edge) if old_edge is None else old_edge.id
        groups[edge.id] = number
        edges.append(replace(edge, id=number, producer=chains[edge.producer], consumer=chains[edge.consumer]))
    edges = [edge if edge.together is None else replace(edge, together=groups[edge.together]) for edge in edges]
    return replace(
        wanted,
        chains=tuple(replace(chain, id=chains[chain.id], sinks=tuple(sinks[one] for one in chain.sinks)) for chain in wanted.chains),
        lanes=tuple(_lane(lane, lane_ids[lane.id], chains) for lane in wanted.lanes),
        sinks=tuple(replace(sink, id=sinks[sink.id]) for sink in wanted.sinks),
        pools=tuple(replace(pool, chain=chains[pool.chain]) for pool in wanted.pools),
        edges=tuple(edges),
    )


def _lane(lane: Lane, number: int, chains: Mapping[int, int]) -> Lane:
    """The lane in other numbers."""
    batches = tuple(replace(batch, chains=tuple(chains[one] for one in batch.chains)) for batch in lane.batches)
    return replace(lane, id=number, chains=tuple(chains[one] for one in lane.chains), batches=batches)


def _both(before: Plan, after: Plan) -> Plan:
    """Everything of both; where both have it, as the new plan calls it."""

    def union(old: tuple[Any, ...], new: tuple[Any, ...], key: str) -> tuple[Any, ...]:
        fresh = {getattr(one, key): one for one in new}
        known = {getattr(one, key) for one in old}
        return (*(fresh.get(getattr(one, key), one) for one in old), *(one for one in new if getattr(one, key) not in known))

    models = tuple(dict.fromkeys((*before.models, *after.models)))
    return replace(
        before, nodes=union(before.nodes, after.nodes, "address"), streams=union(before.streams, after.streams, "name"),
        sinks=union(before.sinks, after.sinks, "id"), chains=union(before.chains, after.chains, "id"),
        lanes=union(before.lanes, after.lanes, "id"), edges=union(before.edges, after.edges, "id"), models=models, pools=(),
    )  # fmt: skip


# ---- who inherits


def _sinks(before: Plan, after: Plan, coming: Collection[int]) -> dict[int, int]:
    """Sinks of coming lanes that go on with an output which another worker has written so far."""
    old = {(sink.business, sink.output, sink.target): sink.id for sink in before.sinks}
    fresh = {sink for lane in after.lanes if lane.id in coming for chain in _chains(after, lane) for sink in chain.sinks}
    found = {sink.id: old.get((sink.business, sink.output, sink.target)) for sink in after.sinks if sink.id in fresh}
    return {new: number for new, number in found.items() if number is not None}


def _heirs(before: Plan, after: Plan, coming: Collection[int], broken: Collection[int]) -> dict[str, Heir]:
    """Stateful nodes of coming lanes that an earlier node of the same name, or the same node elsewhere, can hand its state to."""
    lost = {address for lane in before.lanes if lane.id in broken for chain in _chains(before, lane) for address in chain.nodes}
    named = {(name, node.op): node for node in before.nodes if node.kind == "stateful" for name in node.names}
    same = {node.address: node for node in before.nodes}
    heirs = {}
    for lane in after.lanes:
        for address in (address for chain in _chains(after, lane) if lane.id in coming for address in chain.nodes):
            node = after.node(address)
            if node.kind != "stateful":
                continue
            old = same.get(address) or next((named[name, node.op] for name in node.names if (name, node.op) in named), None)
            if old is None:
                if any(name in other.names for other in before.nodes for name in node.names):
                    heirs[address] = Heir(node.names[0], None, f"another operator had this name; {node.op} has no state of it")
            elif old.address in lost:
                heirs[address] = Heir(node.names[0], None, "its worker had failed, and its state with it")
            elif old.config != node.config:
                changed = sorted(key for key in {*old.config, *node.config} if old.config.get(key) != node.config.get(key))
                heirs[address] = Heir(node.names[0], None, f"its settings changed ({', '.join(changed)})")
            else:
                heirs[address] = Heir(node.names[0], old.address)
    return heirs


def _chains(plan: Plan, lane: Lane) -> Iterator[Chain]:
    return (chain for chain in plan.chains if chain.id in lane.chains)
