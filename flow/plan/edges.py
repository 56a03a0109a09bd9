"""How many frames an edge may hold, and how many bytes travel beside the descriptors of one frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec
from flow.plan.chains import Layout, Link
from flow.plan.value import Edge, Policy, Ref, Stream

CREDITS = 2
"""Frames on each link between two replicas: one being worked on, one waiting, so that no one idles while a frame is handed over."""
PATIENT_CREDITS = 4
"""The same where no frame is live and no lane replicated: workers that take several light frames at a time sleep and wake less often."""
MOST_WAITING = 8
"""Frames of one live stream that wait for those of a slower one, at most: they take memory."""
PORT_BYTES = 256
"""A picture's or tensor's descriptor and transform, and room for padding."""
ITEM_BYTES = 128
"""What one item of a list adds."""
SEGMENT_BYTES = 1024
"""A picture whose size or format changed is announced with its new spec."""
ROUNDS = 16

Specs = Mapping[Ref, Spec]


def edges(layout: Layout, streams: Sequence[Stream], specs: Specs) -> tuple[Edge, ...]:
    """The links with capacity, payload and policy.

    Where paths meet again in a join, each may hold as many frames as the longest: the shorter one's last edge takes up the
    difference, so that the join never throttles the longer path.
    """
    by_name = {stream.name: stream for stream in streams}
    source = {chain.id: by_name[chain.stream] for chain in layout.chains if chain.stream is not None}
    credit = link_credits(layout, streams)
    groups = together(layout.links)
    sized = []
    for number, link in enumerate(layout.links):
        stream = source.get(link.producer)
        policy: Policy = stream.policy if stream is not None else "block"
        sized.append(
            Edge(
                id=number,
                producer=link.producer,
                consumer=link.consumer,
                refs=link.refs,
                capacity=credit[number] * layout.lane_of(link.consumer).replicas,
                payload=payload(specs[ref] for ref in link.refs),
                policy=policy,
                queue=stream.queue if stream is not None else 1,
                together=groups[number] if stream is not None else None,
            )
        )
    return tuple(sized)


def link_credits(layout: Layout, streams: Sequence[Stream]) -> list[int]:
    """Frames on each link between two replicas, by edge.

    Let D of a chain be the most frames on any path to it. An edge gets D(consumer) - D(producer), so that all paths to a join hold
    equally many. With p producer and c consumer replicas an edge has lcm(p, c) links in use; whole credits round up, which may raise
    D again, so the sum is taken until it stands.

    A frame of a live stream that meets a slower one waits until that one's next frame has come; others that come meanwhile wait behind it.
    """
    hurried = live_chains(layout, streams)
    given = [
        CREDITS if link.producer in hurried or links_in_use(layout, link) > 1 else PATIENT_CREDITS for link in layout.links
    ]  # fmt: skip
    for _ in range(ROUNDS):
        depth = depths(layout, given)
        wanted = [
            max(credit, -(-(depth[link.consumer] - depth[link.producer]) // links_in_use(layout, link)))
            for credit, link in zip(given, layout.links, strict=True)
        ]
        if wanted == given:
            break
        given = wanted
    return list(map(max, given, _waiting_to_meet(layout, streams)))


def frames_to_wait(period_ns: float, slowest_ns: float) -> int:
    """How many frames of a stream come while one of them waits for a frame of a slower stream, itself included."""
    return min(MOST_WAITING, 1 + math.ceil(slowest_ns / period_ns - 1e-6))


def _waiting_to_meet(layout: Layout, streams: Sequence[Stream]) -> list[int]:
    """For each link the frames of a live stream that wait at its end for a slower one; 0 where none does."""
    period = {stream.name: stream.period_ns for stream in streams if stream.live}
    found: dict[int, float] = {chain.id: period.get(chain.stream, 0.0) for chain in layout.chains if chain.stream is not None}
    waiting = dict.fromkeys(layout.links, 0)
    for chain in sorted(chain.id for chain in layout.chains):  # numbered in the order of frames
        into = {link: found.get(link.producer, 0.0) for link in layout.links if link.consumer == chain}
        if periods := list(filter(None, into.values())):
            found[chain] = min(periods)
            waiting |= {link: frames_to_wait(own, max(periods)) for link, own in into.items() if 0 < own < max(periods)}
    # What a worker keeps for itself is acknowledged to nobody before it has met.
    for link in sorted(layout.links, key=lambda link: -link.consumer):
        if layout.lane_of(link.producer) == layout.lane_of(link.consumer):
            for before in layout.links:
                if before.consumer == link.producer:
                    waiting[before] = max(waiting[before], waiting[link])
    return list(waiting.values())


def live_chains(layout: Layout, streams: Sequence[Stream]) -> set[int]:
    """Chains that frames come to whose age matters: of live streams, and of those that thin out."""
    live = {stream.name for stream in streams if stream.live or stream.policy in ("latest", "drop_oldest")}
    found = {chain.id for chain in layout.chains if chain.stream in live}
    for chain in sorted(chain.id for chain in layout.chains):  # numbered in the order of frames
        if any(link.consumer == chain and link.producer in found for link in layout.links):
            found.add(chain)
    return found


def depths(layout: Layout, given: Sequence[int]) -> dict[int, int]:
    """Most frames in flight on any path to each chain."""
    depth = {chain.id: 0 for chain in layout.chains}
    for chain in sorted(depth):  # chains are numbered in the order of frames
        for credit, link in zip(given, layout.links, strict=True):
            if link.consumer == chain:
                depth[chain] = max(depth[chain], depth[link.producer] + credit * links_in_use(layout, link))
    return depth


def links_in_use(layout: Layout, link: Link) -> int:
    """Frames go round both ends' replicas in turn: so many pairs of them ever meet."""
    return math.lcm(layout.lane_of(link.producer).replicas, layout.lane_of(link.consumer).replicas)


def together(links: Sequence[Link]) -> list[int | None]:
    """For each link the group of links from the same chain that meet again downstream; None for one that meets none."""
    after: dict[int, set[int]] = {}
    for link in links:
        after.setdefault(link.producer, set()).add(link.consumer)

    def reach(chain: int) -> frozenset[int]:
        found, front = {chain}, [chain]
        while front:
            for consumer in after.get(front.pop(), ()):
                if consumer not in found:
                    found.add(consumer)
                    front.append(consumer)
        return frozenset(found)

    reached = [reach(link.consumer) for link in links]
    group = list(range(len(links)))
    for one, link in enumerate(links):
        for other in range(one):
            if links[other].producer == link.producer and reached[one] & reached[other]:
                old, new = max(group[one], group[other]), min(group[one], group[other])
                group = [new if each == old else each for each in group]
    return [each if group.count(each) > 1 else None for each in group]


def payload(specs: Iterable[Spec]) -> int:
    """Bytes that travel beside the descriptors of one frame."""
    found = list(specs)
    pictures = any(isinstance(spec.item if isinstance(spec, ManySpec) else spec, ImageSpec) for spec in found)
    return sum(map(_port_bytes, found)) + (SEGMENT_BYTES if pictures else 0)


def _port_bytes(spec: Spec) -> int:
    match spec:
        case ManySpec():
            item = spec.item.nbytes if isinstance(spec.item, RecordsSpec) else 0
            return PORT_BYTES + spec.capacity * (ITEM_BYTES + item)
        case RecordsSpec():
            return PORT_BYTES + spec.nbytes
        case _:
            return PORT_BYTES
