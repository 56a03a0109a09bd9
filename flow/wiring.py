"""What follows from a plan for every worker: its counters, its pools with their rows, its links. Both ends derive the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from devices.spec import Spec
from flow.entry import most_bytes
from flow.ledger import LATENCY_BUCKETS, Layout
from flow.link.ring import RingShape
from flow.plan.value import Chain, Edge, Lane, Plan, Pool, Ref
from flow.pool import PoolShape
from flow.said import said_keys

STREAM_CAUSES = ("latest", "drop_oldest", "every", "memory", "stopped", "death", "switch")
STREAM_WORDS = ("next_seq", "last_pts", "cut", "cut_epoch", "cut_last", "cut_first", "notices", "noticed")
"""What a successor of a source's worker goes on from: frames settled, where plans changed, bounds sent without a frame."""
NODE_CAUSES = ("error", "overflow", "spec", "poison", "stopped", "join")
SPARE_ENTRIES = 6
Carrier = Literal["local", "ring", "zmq"]
EDGE_CAUSES = ("latest", "drop_oldest", "overflow", "stopped", "death", "join", "switch")
SPARE_EDGES = 32
"""Edges that a worker can begin while it runs."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One worker: a lane, and which of its replicas."""

    lane: int
    replica: int

    @property
    def name(self) -> str:
        return f"lane{self.lane}.{self.replica}"


@dataclass(frozen=True, slots=True)
class LinkId:
    """One link of an edge: from which replica of the producer to which of the consumer."""

    edge: int
    producer: int
    consumer: int

    @property
    def name(self) -> str:
        return f"e{self.edge}.{self.producer}.{self.consumer}"


@dataclass(frozen=True, slots=True)
class PoolSeat:
    """A pool as one replica of its chain owns it, and who may hold its slots: (chain, replica), the owner first, as frames travel."""

    shape: PoolShape
    pool: Pool
    replica: int
    holders: tuple[tuple[int, int], ...]


class Wiring:
    """A plan, looked at from its workers. `streams`: names whose numbers are given already."""

    def __init__(self, plan: Plan, streams: Sequence[str] = ()) -> None:
        self.plan = plan
        self.chains = {chain.id: chain for chain in plan.chains}
        self.lanes = {lane.id: lane for lane in plan.lanes}
        self.edges = {edge.id: edge for edge in plan.edges}
        self.lane_of = {chain: lane for lane in plan.lanes for chain in lane.chains}
        self.streams = list(dict.fromkeys((*streams, *(stream.name for stream in plan.streams))))
        self.nodes = [node.address for node in plan.nodes]
        self.sinks = {sink.id: sink for sink in plan.sinks}
        self._order = {chain.id: place for place, chain in enumerate(self._sorted())}

    def _sorted(self) -> list[Chain]:
        """Chains in the order frames travel."""
        waiting = {chain.id: {edge.producer for edge in self.inbound(chain.id)} for chain in self.plan.chains}
        order: list[Chain] = []
        while waiting:
            free = [chain for chain, producers in waiting.items() if not producers & waiting.keys()]
            if not free:
                raise ValueError(f"chains {sorted(waiting)} wait for each other")
            for chain in free:
                order.append(self.chains[chain])
                del waiting[chain]
        return order

    def inbound(self, chain: int) -> list[Edge]:
        return [edge for edge in self.plan.edges if edge.consumer == chain]

    def outbound(self, chain: int) -> list[Edge]:
        return [edge for edge in self.plan.edges if edge.producer == chain]

    def seats(self) -> list[Seat]:
        return [Seat(lane.id, replica) for lane in self.plan.lanes for replica in range(lane.replicas)]

    def replicas(self, chain: int) -> int:
        return self.lane_of[chain].replicas

    def stream_of(self, chain: int) -> str:
        """The stream whose frames pace this chain: its own, or that of its first edge's producer."""
        stream = self.chains[chain].stream
        return stream if stream is not None else self.stream_of(self.inbound(chain)[0].producer)

    def links(self) -> Iterator[LinkId]:
        for edge in self.plan.edges:
            for producer in range(self.replicas(edge.producer)):
                for consumer in range(self.replicas(edge.consumer)):
                    yield LinkId(edge.id, producer, consumer)

    def ends(self, link: LinkId) -> tuple[Seat, Seat]:
        """The workers at both ends: producer, consumer."""
        edge = self.edges[link.edge]
        return Seat(self.lane_of[edge.producer].id, link.producer), Seat(self.lane_of[edge.consumer].id, link.consumer)

    def writer(self, sink: int) -> Seat:
        """The worker that writes a sink."""
        return Seat(next(lane.id for chain, lane in self.lane_of.items() if sink in self.chains[chain].sinks), 0)

    def carrier(self, link: LinkId) -> Carrier:
        """What carries a link."""
        if self.plan.link == "zmq":
            return "zmq"
        producer, consumer = self.ends(link)
        return "local" if producer == consumer else "ring"

    def credits(self, edge: Edge) -> int:
        """Entries that may be under way on each link of an edge."""
        return max(1, -(-edge.capacity // self.replicas(edge.consumer)))

    def ring(self, edge: Edge) -> RingShape:
        """Room for what credits allow, and for what goes without: the end, and bounds in the place of frames that died."""
        return RingShape(self.credits(edge) + SPARE_ENTRIES, most_bytes(len(edge.refs), len(self.streams), edge.payload))

    def pools(self, first: int = 0) -> list[PoolSeat]:
        """Every pool of every replica, numbered from `first` on."""
        seats: list[PoolSeat] = []
        for pool in self.plan.pools:
            for replica in range(self.replicas(pool.chain)):
                holders = [(pool.chain, replica), *self._receivers(pool)]
                shape = PoolShape(first + len(seats), pool.slots, pool.slot_bytes, len(holders))
                seats.append(PoolSeat(shape, pool, replica, tuple(holders)))
        return seats

    def _receivers(self, pool: Pool) -> list[tuple[int, int]]:
        """Chains that the slots of a pool can reach: along edges that may carry the value, and on from who could pass it on."""
        reached: set[int] = set()
        front = [pool.chain]
        while front:
            chain = front.pop()
            for edge in self.outbound(chain):
                if edge.consumer not in reached and (self._carries(edge, pool.ref) if chain == pool.chain else self._pictures(edge)):
                    reached.add(edge.consumer)
                    front.append(edge.consumer)
        ordered = sorted(reached, key=self._order.__getitem__)
        return [(chain, replica) for chain in ordered for replica in range(self.replicas(chain))]

    def _carries(self, edge: Edge, made: Ref) -> bool:
        """Whether what its own chain made at `made` may travel on an edge: under its own name, or that of a node which passes it on."""
        return any(ref == made or self.spec(ref) == self.spec(made) for ref in edge.refs)

    def _pictures(self, edge: Edge) -> bool:
        return any(self.spec(ref).kind in ("image", "tensors") for ref in edge.refs)

    def spec(self, ref: Ref) -> Spec:
        """Spec of what flows at `ref`."""
        for stream in self.plan.streams:
            if stream.address == ref.address:
                return stream.spec
        return dict(self.plan.node(ref.address).outputs)[ref.port]

    def state_areas(self, lane: Lane) -> dict[int, int]:
        """Chain -> state area, for chains with stateful nodes."""
        kinds = {node.address: node.kind for node in self.plan.nodes}
        stateful = [chain for chain in lane.chains if any(kinds[address] == "stateful" for address in self.chains[chain].nodes)]
        return {chain: area for area, chain in enumerate(stateful)}

    def layout(self, lane: Lane) -> Layout:
        """The counters of one worker of this lane."""
        keys = ["state_resets"]
        most = max((batch.most for batch in lane.batches), default=0)
        keys += [f"batch:{place}.{name}" for place in range(most) for name in ("node", "stream", "seq")]
        for chain in map(self.chains.__getitem__, lane.chains):
            keys.append(f"chain:{chain.id}.state")
            if chain.stream is not None:
                keys += [f"stream:{chain.stream}.{name}" for name in ("in", "out", "in_flight", "repaired", "reconnects", "corrupt")]
                keys += [f"stream:{chain.stream}.dropped:{cause}" for cause in STREAM_CAUSES]
                keys += [f"chain:{chain.id}.{name}" for name in STREAM_WORDS]
            for address in chain.nodes:
                keys += [f"node:{address}.{name}" for name in ("runs", "calls", "errors", "busy_ns", "next_seq")]
                keys += [f"node:{address}.dropped:{cause}" for cause in NODE_CAUSES]
            for sink in chain.sinks:
                keys += [f"sink:{sink}.{name}" for name in ("results", "max_ns", "errors", "last_ns", "gap_ns", "next_seq")]
                keys += [f"sink:{sink}.latency:{bucket}" for bucket in range(LATENCY_BUCKETS)]
                keys += said_keys(sink, self.sinks[sink].spec)
            for edge in self.outbound(chain.id):
                keys += out_keys(edge.id)
            for edge in self.inbound(chain.id):
                keys += [
                    f"taken:{edge.id}.{name}" for name in ("in", "out", "in_flight", "turn", "settled", "dropped:join", "dropped:broken")
                ]
        return Layout(keys, len(self.state_areas(lane)), SPARE_EDGES * len(out_keys(0)))


def out_keys(edge: int) -> list[str]:
    """The counters of an edge at its producer."""
    return [f"edge:{edge}.{name}" for name in ("in", "out", "in_flight", "turn", "settled")] + [
        f"edge:{edge}.dropped:{cause}" for cause in EDGE_CAUSES
    ]
