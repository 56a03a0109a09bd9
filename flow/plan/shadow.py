"""A plan beside which another one is tried out: what that would change runs on a sample of the same frames, in workers of its own.

What runs is taken over as it is, so a live switch to the grafted plan touches no worker of it: sources get edges more, nothing else. The
shadow shares no work with it, though it may be equal work: else one could hold up the other.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from devices.spec import ManySpec, RecordsSpec, Spec
from flow.plan.chains import Layout, lay_out
from flow.plan.edges import edges, frames_to_wait
from flow.plan.homes import homes
from flow.plan.pools import alive, pools
from flow.plan.value import Edge, Node, Plan, Pool, Ref, Sample, Sink, Stream

SHADOW = "shadow:"
"""The target of a shadow's outputs."""
MARK = "shadow-"
"""What addresses of a shadow's nodes begin with."""
COMPARABLE = frozenset({"detections", "classes", "landmarks", "event", "points"})
PERIODS, LEAST_NS = 4, 500_000_000
"""How long a sampled span of time is: so many periods of the slowest stream that meets another, and at least so many ns. The first
frames of a span meet what came before it, which is not in the sample: the longer a span, the fewer of them.
"""


class ShadowError(Exception):
    """A plan that cannot be tried out beside another: expected, got, what to do instead."""


def compared(running: Plan, candidate: Plan) -> list[tuple[Sink, Sink]]:
    """Outputs that the candidate computes in another way, as (sink that runs, sink of the candidate); those that are records."""
    old = {(sink.business, sink.output): sink for sink in running.sinks if is_comparable(sink.spec)}
    new = {(sink.business, sink.output): sink for sink in candidate.sinks if is_comparable(sink.spec)}
    return [(old[key], sink) for key, sink in new.items() if key in old and old[key].value.address != sink.value.address]


def apart(running: Plan, candidate: Plan) -> tuple[str, ...]:
    """Outputs (`business.output`) that the candidate computes in another way and that `compared` leaves out: pictures."""
    old = {(sink.business, sink.output, sink.target): sink.value.address for sink in running.sinks}
    new = {(sink.business, sink.output, sink.target): sink.value.address for sink in candidate.sinks}
    told = {(sink.business, sink.output) for _, sink in compared(running, candidate)}
    changed = {key[:2] for key, address in new.items() if key in old and old[key] != address}
    return tuple(sorted(f"{business}.{output}" for business, output in changed - told))


def is_comparable(spec: Spec) -> bool:
    """Whether results of this kind can be compared: records, or lists of them."""
    item = spec.item if isinstance(spec, ManySpec) else spec
    return isinstance(item, RecordsSpec) and item.record in COMPARABLE


def shadowed(name: str) -> str:
    """What a business is called whose candidate runs beside it; no manifest can call one so."""
    return f"{name}~shadow"


def beside(running: Plan, candidate: Plan, *, every: int) -> Plan:
    """The running plan, and on every so many frames what of the candidate `compared` names. Its digest is the running plan's: results are
    the same.

    Streams that meet in it are sampled in the same spans of time. Raises ShadowError for an output of other streams than it has now, and
    for a stream that is another one now.
    """
    both = compared(running, candidate)
    for old, new in both:
        if (old.stream, set(old.streams)) != (new.stream, set(new.streams)):
            raise ShadowError(
                f"{new.business}.{new.output}: expected an output of {', '.join(old.streams)}, as the one that runs, got one of "
                f"{', '.join(new.streams)}: no result would be of the same frames; take it through a rollout without a shadow"
            )
    pairs = [new for _, new in both]
    nodes = _renamed(_ancestors(candidate, pairs), {sink.business for sink in pairs})
    here = {node.address for node in nodes}
    sinks = [
        replace(sink, id=place, business=shadowed(sink.business), target=SHADOW, value=_marked(sink.value, here))
        for place, sink in enumerate(pairs)
    ]
    streams = [_same(running, candidate.stream(name)) for name in dict.fromkeys(name for sink in pairs for name in sink.streams)]
    placed = homes(nodes, streams, sinks, cores=1, live=True)
    layout = lay_out(nodes, streams, sinks, placed, cores=1)
    specs: dict[Ref, Spec] = {Ref(stream.address, "image"): stream.spec for stream in streams}
    specs |= {Ref(node.address, port): spec for node in nodes for port, spec in node.outputs}
    meeting = [stream for stream in streams if any(len(node.streams) > 1 and stream.name in node.streams for node in nodes)]
    slowest = max((stream.period_ns for stream in meeting), default=0.0)
    samples = {stream.name: _sample(stream, every, slowest if stream in meeting else 0.0) for stream in streams}
    thinning = [_thinned(stream, slowest if stream in meeting else 0.0) for stream in streams]
    return _grafted(running, layout, edges(layout, thinning, specs), nodes, sinks, specs, candidate, samples)


def _sample(stream: Stream, every: int, slowest: float) -> Sample:
    """Which frames are taken of a stream; `slowest`: the period of the slowest one among those that meet, it included; 0: it meets none."""
    return Sample(every, max(LEAST_NS, math.ceil(PERIODS * slowest)), timed=True) if slowest else Sample(every, stream.every)


def _thinned(stream: Stream, slowest: float) -> Stream:
    """The stream as its sample is given: nobody waits for who takes it. Of frames that meet others as many are kept as come while a join
    waits for the slowest of those.
    """
    if not slowest:
        return replace(stream, policy="latest", queue=1, live=True)
    return replace(stream, policy="drop_oldest", queue=frames_to_wait(stream.period_ns, slowest), live=True)


def sample_of(plan: Plan, stream: str) -> Sample | None:
    """Which frames of a stream what is tried out beside the plan gets; None where it gets none."""
    source = {chain.id for chain in plan.chains if chain.stream == stream}
    return next((edge.sample for edge in plan.edges if edge.sample is not None and edge.producer in source), None)


def _ancestors(plan: Plan, sinks: Sequence[Sink]) -> list[Node]:
    """What these sinks are computed from."""
    by_address = {node.address: node for node in plan.nodes}
    front, wanted = [sink.value.address for sink in sinks], set()
    while front:
        address = front.pop()
        if address in by_address and address not in wanted:
            wanted.add(address)
            front += [ref.address for _, ref in by_address[address].inputs]
    return [node for node in plan.nodes if node.address in wanted]


def _renamed(nodes: Sequence[Node], businesses: Collection[str]) -> list[Node]:
    here = {MARK + node.address for node in nodes}
    return [
        replace(
            node, address=MARK + node.address, batch=None,
            inputs=tuple((port, _marked(ref, here)) for port, ref in node.inputs),
            names=tuple(_renamed_node(name) for name in node.names if name.partition(".")[0] in businesses),
            businesses=tuple(shadowed(name) for name in node.businesses if name in businesses),
        )
        for node in nodes
    ]  # fmt: skip


def _renamed_node(name: str) -> str:
    business, _, rest = name.partition(".")
    return f"{shadowed(business)}.{rest}"


def _marked(ref: Ref, here: Collection[str]) -> Ref:
    return Ref(MARK + ref.address, ref.port) if MARK + ref.address in here else ref


def _same(running: Plan, stream: Stream) -> Stream:
    """The stream as it runs."""
    own = next((one for one in running.streams if one.name == stream.name), None)
    if own is None or (own.address, own.spec) != (stream.address, stream.spec):
        got = "none" if own is None else f"{own.spec}"
        raise ShadowError(
            f"stream {stream.name}: expected one that runs and gives {stream.spec}, got {got}; change streams without a shadow"
        )
    return own


def _grafted(
    running: Plan, layout: Layout, flowing: Sequence[Edge], nodes: Sequence[Node], sinks: Sequence[Sink], specs: Mapping[Ref, Spec],
    candidate: Plan, samples: Mapping[str, Sample],
) -> Plan:  # fmt: skip
    """The running plan with the layout's chains, but for its sources, which are there."""
    first_chain, first_lane = 1 + max(chain.id for chain in running.chains), 1 + max(lane.id for lane in running.lanes)
    first_edge, first_sink = 1 + max((edge.id for edge in running.edges), default=-1), 1 + max(sink.id for sink in running.sinks)
    source = {chain.stream: chain.id for chain in running.chains if chain.stream is not None}
    number = {chain.id: source[chain.stream] if chain.stream is not None else first_chain + chain.id for chain in layout.chains}
    own = [chain for chain in layout.chains if chain.stream is None]
    sources = {number[chain.id]: samples[chain.stream] for chain in layout.chains if chain.stream is not None}
    coming = [
        replace(
            edge, id=first_edge + edge.id, producer=number[edge.producer], consumer=number[edge.consumer],
            together=None if edge.together is None else first_edge + edge.together,
            sample=sources.get(number[edge.producer]),
        )
        for edge in flowing
    ]  # fmt: skip
    one = dict.fromkeys(number.values(), 1)
    fresh = [pool for pool in pools(coming, {}, one, specs) if pool.chain not in sources]
    lanes = [
        replace(
            lane, id=first_lane + lane.id, name=f"shadow {', '.join(sorted({sink.business.partition('~')[0] for sink in sinks}))}",
            chains=tuple(number[chain] for chain in lane.chains), shadow=True,
        )
        for lane in layout.lanes if not sources.keys() & {number[chain] for chain in lane.chains}
    ]  # fmt: skip
    return replace(
        running,
        nodes=(*running.nodes, *nodes),
        sinks=(*running.sinks, *(replace(sink, id=first_sink + sink.id) for sink in sinks)),
        models=tuple(dict.fromkeys((*running.models, *candidate.models))),
        chains=(
            *running.chains, *(replace(chain, id=number[chain.id], sinks=tuple(first_sink + sink for sink in chain.sinks)) for chain in own)
        ),
        lanes=(*running.lanes, *lanes),
        edges=(*running.edges, *coming),
        pools=(*(_widened(pool, coming, one, specs) for pool in running.pools), *fresh),
    )  # fmt: skip


def _widened(pool: Pool, coming: Sequence[Edge], replicas: Mapping[int, int], specs: Mapping[Ref, Spec]) -> Pool:
    """A source's pool with room for the sample that is on its way."""
    if pool.ref not in specs or not any(edge.producer == pool.chain for edge in coming):
        return pool
    return replace(pool, slots=pool.slots + alive(pool.chain, pool.ref, coming, replicas, specs))
