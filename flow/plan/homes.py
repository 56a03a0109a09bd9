"""Which worker a node lives in: sources, inference and the tail of each business apart, so that cores share work and faults stay apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.engine import ModelInfo
from devices.spec import ImageSpec, ManySpec, Spec, TensorsSpec
from flow.plan.canonical import digest
from flow.plan.value import Node, Sink, Stream

HOST = "cpu"
SOURCE, INFER, DEVICE, SHARED, TAIL = range(5)
"""Ranks of lanes, in the order in which frames meet them."""
BULK = 4096
"""Bytes of pictures or tensors up to which they are moved as readily as records."""
LIGHT_INPUT, LIGHT_FILE = 1024, 1 << 20
"""Numbers a frame, and bytes of weights, of a model that needs no lane: with these a frame takes well below a millisecond."""


@dataclass(frozen=True, slots=True, order=True)
class Home:
    """A lane in the making: its rank in the order of lanes, its place among those of its rank, and its name."""

    rank: int
    place: int
    name: str
    device: str = HOST
    parts: int = 1
    """Of a session's lane: how many lanes share out the session's streams."""


@dataclass(frozen=True, slots=True)
class Homes:
    """The home of every stream (by name), node (by address) and sink (by id)."""

    streams: Mapping[str, Home]
    nodes: Mapping[str, Home]
    sinks: Mapping[int, Home]


def homes(
    nodes: Sequence[Node], streams: Sequence[Stream], sinks: Sequence[Sink], *, cores: int, models: Sequence[ModelInfo] = (),
    live: bool = False,
) -> Homes:  # fmt: skip
    """One core: one lane for the host, since nothing gains from a hop. More: see `_Assignment`. Every other device has its own lane.

    `models` are those that the nodes use; a model that is not among them counts as one that costs much. `live`: the plan is going to
    change while it runs, so each source has a lane to itself, which stays when the rest changes.
    """
    if cores > 1:
        return _Assignment(nodes, streams, sinks, models, cores, live=live).homes()
    everything = Home(SHARED if live else SOURCE, 0, "all")
    return Homes(
        {stream.name: Home(SOURCE, place, f"source {stream.name}") if live else everything for place, stream in enumerate(streams)},
        {node.address: everything if node.device == HOST else _device(node) for node in nodes},
        {sink.id: everything for sink in sinks},
    )


MANY = 4
"""Streams (or outputs) for each core from which on they share workers: more workers would only cost memory, and changes between them."""


class _Assignment:
    """Homes for two cores or more.

    Inference is what costs: each session (model, engine, device, precision) has a lane, which takes in the pure work around it, so that
    tensors never cross a worker: what prepares its input, and what turns its output into records, models of a few numbers included.
    Such a lane keeps nothing between frames and may be replicated. What keeps state, and the sinks, form the tail of a business;
    businesses that share such a node share the tail, others do not, and one that breaks stops no other. Pure work that several tails
    read has a lane of its own, or stays with the source when it reads nothing else.
    """

    def __init__(
        self, nodes: Sequence[Node], streams: Sequence[Stream], sinks: Sequence[Sink], models: Sequence[ModelInfo], cores: int, *,
        live: bool,
    ) -> None:  # fmt: skip
        self.nodes, self.streams, self.sinks, self.cores, self.live = nodes, streams, sinks, cores, live
        self.source = source_homes(streams, cores, apart=live)
        self.crowded = {home for home in self.source.values() if list(self.source.values()).count(home) > 1}
        self.home: dict[str, Home] = dict(self.source)
        self.anchor = {stream.address: stream.name for stream in streams} | {node.address: node.streams[0] for node in nodes}
        self.readers: dict[str, list[Node]] = {}
        for node in nodes:
            for _, ref in node.inputs:
                self.readers.setdefault(ref.address, []).append(node)
        self.shown = {sink.value.address for sink in sinks}
        self.light = {model.digest for model in models if costs_little(model)}
        self.session_of = session_homes(list(filter(self._infers, nodes)), {model.digest: model.name for model in models}, cores)
        self.sessions = set(self.session_of.values())

    def homes(self) -> Homes:
        for node in self.nodes:
            if node.device != HOST:
                self.home[node.address] = _device(node)
            elif self._infers(node):
                self.home[node.address] = self.session_of[node.address]
        self._take_in_preparation()
        self._take_in_decoding()
        if not self.live:
            self._keep_with_source()
        tails = self._tails()
        for node in self.nodes:
            if node.address not in self.home:
                own = {tails[business] for business in node.businesses}
                self.home[node.address] = own.pop() if len(own) == 1 else self._shared(node)
        return Homes(
            {stream.name: self.home[stream.address] for stream in self.streams},
            {node.address: self.home[node.address] for node in self.nodes},
            {sink.id: tails[sink.business] for sink in self.sinks},
        )

    def _shared(self, node: Node) -> Home:
        """One lane for all; in a plan that is going to change one for each stream, so that a change leaves the others alone."""
        if not self.live:
            return Home(SHARED, 0, "shared")
        place = [stream.name for stream in self.streams].index(node.streams[0])
        return Home(SHARED, place, f"shared {node.streams[0]}")

    def _infers(self, node: Node) -> bool:
        """Whether the node is worth a lane: a model that costs something, or other work that frames of several streams can share."""
        if node.engine is None:
            return node.batch is not None and node.device == HOST
        return node.device == HOST and node.model not in self.light

    def _free(self, node: Node) -> bool:
        return node.address not in self.home and node.kind == "pure"

    def _take_in_preparation(self) -> None:
        """Pictures and tensors made for one session alone are made where it runs."""
        for node in reversed(self.nodes):
            readers = self.readers.get(node.address, [])
            if self._free(node) and readers and node.address not in self.shown and bulky(node):
                where = {self.home.get(reader.address) for reader in readers}
                home = where.pop() if len(where) == 1 else None
                if home in self.sessions:
                    assert home is not None
                    self.home[node.address] = home

    def _take_in_decoding(self) -> None:
        """Records made from a session's output, and from nothing else than sources and sessions, are made where it runs."""
        known = {*self.source.values(), *self.sessions}
        for node in self.nodes:
            if self._free(node) and not bulky(node):
                read = [self.home.get(ref.address) for _, ref in node.inputs]
                sessions = [home for home in read if home in self.sessions]
                if sessions and all(home in known for home in read) and not self._joins(node):
                    last = sessions[-1]
                    assert last is not None
                    self.home[node.address] = last

    def _joins(self, node: Node) -> bool:
        """Whether streams meet in the node: replicas of a session each see some of their frames only."""
        return len({self.anchor[ref.address] for _, ref in node.inputs}) > 1

    def _keep_with_source(self) -> None:
        """Pure work on one source alone stays there when several lanes want it, or to prepare pictures where nothing is inferred.

        Not beside other sources: what computes in Python would keep their cameras waiting.
        """
        inferred = {stream for node in self.nodes if self._infers(node) for stream in node.streams}
        for node in self.nodes:
            read = {self.home.get(ref.address) for _, ref in node.inputs}
            home = read.pop() if len(read) == 1 else None
            if not self._free(node) or home not in self.source.values() or home in self.crowded:
                continue
            assert home is not None
            wanted = {self.home.get(reader.address) for reader in self.readers.get(node.address, [])}
            pictures = any(isinstance(_item(spec), ImageSpec) for _, spec in node.outputs)
            prepares = pictures and not inferred.intersection(node.streams)
            if len(node.businesses) > 1 or prepares or wanted & self.sessions:
                self.home[node.address] = home

    def _tails(self) -> dict[str, Home]:
        """The tail of each business: one for all that share a node which is neither pure nor placed yet."""
        group: dict[str, set[str]] = {}
        for business in (*(sink.business for sink in self.sinks), *(each for node in self.nodes for each in node.businesses)):
            group.setdefault(business, {business})
        for node in self.nodes:
            if node.address not in self.home and node.kind != "pure":
                together: set[str] = set().union(*(group[business] for business in node.businesses))
                for business in together:
                    group[business] = together
        order = list(group)
        own = {business: Home(TAIL, min(map(order.index, members)), " + ".join(sorted(members))) for business, members in group.items()}
        return own | self._writers(group)

    def _writers(self, group: Mapping[str, set[str]]) -> dict[str, Home]:
        """Tails that only write records share one lane where they are many; drawing and encoding a video is work of its own."""
        working = {business for node in self.nodes if node.address not in self.home for business in node.businesses}
        working |= {sink.business for sink in self.sinks if isinstance(_item(sink.spec), ImageSpec)}
        idle = [business for business in group if not working & group[business]]
        return dict.fromkeys(idle, Home(TAIL, len(group), "outputs")) if len(idle) >= MANY * self.cores else {}


def _session(node: Node) -> tuple[str, ...]:
    if node.engine is None:
        return node.op, digest(dict(node.config))
    return (str(node.model), str(node.engine), node.device, str(node.config.get("precision", "auto")))


def session_homes(nodes: Sequence[Node], models: Mapping[str, str], cores: int) -> dict[str, Home]:
    """For each node that infers (by address) the lane of its session, named after its model; another session of a model of that name gets
    a number.

    Where a session's streams are many, they are dealt out to a lane for each core that the session has: then every frame of a stream
    goes the same way, which costs less than to deal out frames and to put them back in order.
    """
    streams: dict[tuple[str, ...], list[str]] = {}
    for node in nodes:
        found = streams.setdefault(_session(node), [])
        if node.streams[0] not in found:
            found.append(node.streams[0])
    share = max(1, cores // max(1, len(streams)))
    lanes: dict[tuple[str, ...], list[Home]] = {}
    place = 0
    for node in nodes:
        session = _session(node)
        if session not in lanes:
            name = f"infer {models.get(str(node.model), node.op)}" if node.engine is not None else f"batch {node.op}"
            taken = sum(homes[0].name.partition(" #")[0] == name for homes in lanes.values())
            name = f"{name} #{taken + 1}" if taken else name
            parts = share if share > 1 and len(streams[session]) >= MANY * share else 1
            lanes[session] = [
                Home(INFER, place + part, f"{name}, part {part + 1}" if parts > 1 else name, parts=parts) for part in range(parts)
            ]
            place += parts
    return {
        node.address: homes[streams[_session(node)].index(node.streams[0]) % len(homes)]
        for node in nodes
        for homes in (lanes[_session(node)],)
    }


def source_homes(streams: Sequence[Stream], cores: int, *, apart: bool = False) -> dict[str, Home]:
    """A lane for each source; but live sources, which wait for their cameras in threads of their own, share as many lanes as there are
    cores where they are many, unless they shall come and go `apart`.
    """
    live = [stream.address for stream in streams if stream.live]
    shared = live if len(live) >= MANY * cores and not apart else []
    found = {}
    for place, stream in enumerate(streams):
        part = shared.index(stream.address) % cores if stream.address in shared else None
        found[stream.address] = (
            Home(SOURCE, place, f"source {stream.name}") if part is None else Home(SOURCE, len(streams) + part, f"sources, part {part + 1}")
        )
    return found


def _device(node: Node) -> Home:
    return Home(DEVICE, 0, f"device {node.device}", device=node.device)


def bulky(node: Node) -> bool:
    """Whether the node gives pictures or tensors that are dear to move."""
    return any(isinstance(_item(spec), ImageSpec | TensorsSpec) and spec.nbytes > BULK for _, spec in node.outputs)


def costs_little(model: ModelInfo) -> bool:
    """Whether a model is so small that a hop between workers would cost more than it does: few numbers in, few weights."""
    numbers = sum(math.prod(spec.shape) for _, spec in model.inputs)
    try:
        return numbers <= LIGHT_INPUT and model.path.stat().st_size <= LIGHT_FILE
    except OSError:
        return False


def _item(spec: Spec) -> Spec:
    return spec.item if isinstance(spec, ManySpec) else spec
