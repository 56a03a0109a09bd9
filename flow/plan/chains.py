"""Chains, lanes and the edges between them: what runs in one go, in which worker, and what flows from one to the next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction

from flow.plan.homes import INFER, Home, Homes, bulky
from flow.plan.value import Chain, Lane, Node, Ref, Sink, Stream


@dataclass(frozen=True, slots=True)
class Link:
    """What flows from one chain to another, before it is sized."""

    producer: int
    consumer: int
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The running order of everything: chains numbered so that each comes after all it reads."""

    chains: tuple[Chain, ...]
    lanes: tuple[Lane, ...]
    links: tuple[Link, ...]

    def lane_of(self, chain: int) -> Lane:
        """The lane that a chain runs in."""
        return next(lane for lane in self.lanes if chain in lane.chains)


Key = tuple[int, int, Home, tuple[str, ...]]
"""What nodes of one chain have in common: level, number of streams, home, streams (the anchor first)."""


def lay_out(nodes: Sequence[Node], streams: Sequence[Stream], sinks: Sequence[Sink], homes: Homes, *, cores: int) -> Layout:
    """Nodes into chains by level: one more than what they read from another lane, the same as what they read in their own.

    Nodes of one lane and level with other streams (or another anchor) are chains of their own. Along an edge between chains the level
    rises, or it stays and the number of streams rises; so chains form no cycle, and none is left and entered again.
    """
    keys: dict[str, Key] = {}
    for stream in streams:
        keys[stream.address] = (0, 1, homes.streams[stream.name], (stream.name,))
    for node in nodes:
        keys[node.address] = _key(homes.nodes[node.address], node.streams, (ref for _, ref in node.inputs), keys)
    sink_keys = {sink.id: _key(homes.sinks[sink.id], sink.streams, (sink.value,), keys) for sink in sinks}
    _delay(nodes, keys, sink_keys, sinks)
    numbered = sorted({*keys.values(), *sink_keys.values()})
    number = {key: place for place, key in enumerate(numbered)}
    source_of = {number[keys[stream.address]]: stream.name for stream in streams}
    chains = tuple(
        Chain(
            id=place,
            nodes=tuple(node.address for node in nodes if keys[node.address] == key),
            stream=source_of.get(place),
            sinks=tuple(sink.id for sink in sinks if sink_keys[sink.id] == key),
        )
        for place, key in enumerate(numbered)
    )
    of_address = {address: number[key] for address, key in keys.items()}
    readers = [(of_address[node.address], ref) for node in nodes for _, ref in node.inputs]
    readers += [(number[sink_keys[sink.id]], sink.value) for sink in sinks]
    whole = {homes.nodes[node.address] for node in nodes if node.kind != "pure" or _meets(node, keys)}
    return Layout(chains, _lanes(numbered, whole, cores), _links(readers, of_address, numbered))


def _meets(node: Node, keys: Mapping[str, Key]) -> bool:
    """Whether streams meet in a node. It must see every frame of each: replicas of it would know the latest of their share only."""
    return len({keys[ref.address][3][0] for _, ref in node.inputs}) > 1


def _key(home: Home, streams: tuple[str, ...], refs: Iterable[Ref], keys: Mapping[str, Key]) -> Key:
    level = 0
    for ref in refs:
        read_level, _, read_home, read_streams = keys[ref.address]
        together = read_home == home and (read_streams == streams or len(read_streams) < len(streams))
        level = max(level, read_level if together else read_level + 1)
    return level, len(streams), home, streams


def _delay(nodes: Sequence[Node], keys: dict[str, Key], sink_keys: Mapping[int, Key], sinks: Sequence[Sink]) -> None:
    """A picture that only later chains of the same lane read is made there: it need not wait in memory meanwhile."""
    readers: dict[str, list[Key]] = {}
    for sink in sinks:
        readers.setdefault(sink.value.address, []).append(sink_keys[sink.id])
    for node in reversed(nodes):
        read = readers.get(node.address, [])
        if read and node.kind == "pure" and bulky(node) and {key[2:] for key in read} == {keys[node.address][2:]}:
            keys[node.address] = min(read)
        for _, ref in node.inputs:
            readers.setdefault(ref.address, []).append(keys[node.address])


def _links(readers: Iterable[tuple[int, Ref]], of_address: Mapping[str, int], keys: Sequence[Key]) -> tuple[Link, ...]:
    """One link for each pair of chains, with all that flows there; of a chain's links those of its anchor stream come first."""
    flowing: dict[tuple[int, int], list[Ref]] = {}
    for consumer, ref in readers:
        producer = of_address[ref.address]
        if producer != consumer:
            refs = flowing.setdefault((producer, consumer), [])
            if ref not in refs:
                refs.append(ref)
    links = [Link(producer, consumer, tuple(refs)) for (producer, consumer), refs in flowing.items()]
    links.sort(key=lambda link: (link.consumer, keys[link.producer][3][0] != keys[link.consumer][3][0], link.producer))
    return tuple(links)


def _lanes(keys: Sequence[Key], whole: Set[Home], cores: int) -> tuple[Lane, ...]:
    """A lane for each home. The lanes that infer share out the cores: as replicas, or as threads where frames depend on each other
    (`whole`).
    """
    found = sorted({key[2] for key in keys})
    sessions = sum(Fraction(1, home.parts) for home in found if home.rank == INFER)
    share = {home: max(1, cores // math.ceil(max(1, sessions)) // home.parts) for home in found}
    return tuple(
        Lane(
            id=place,
            name=home.name,
            chains=tuple(number for number, key in enumerate(keys) if key[2] == home),
            device=home.device,
            threads=share[home] if home.rank == INFER and home in whole else 1,
            replicas=share[home] if home.rank == INFER and home not in whole else 1,
        )
        for place, home in enumerate(found)
    )
