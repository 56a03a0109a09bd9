"""Random graphs of test operators in random lanes, with exactly the slots that a plan computes, and what must come out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from devices.engine import Batching
from devices.spec import ImageSpec, Spec
from flow.plan.batches import batched
from flow.plan.chains import lay_out
from flow.plan.edges import edges
from flow.plan.homes import INFER, SHARED, SOURCE, TAIL, Home, Homes
from flow.plan.pools import pools
from flow.plan.value import Node, Plan, Policy, Ref, Sink, Stream

PRIME, LEVELS = 9973, 251
PICTURE = ImageSpec(32, 16, "gray8")
PORTS: Mapping[str, tuple[str, ...]] = {
    "test.shade": ("image",), "test.pass": ("image",), "test.blend": ("first", "second"), "test.look": ("image",),
    "test.sum": ("points",), "test.some": ("points",), "test.mix": ("first", "second"),
}  # fmt: skip
TAKES_PICTURES = ("test.shade", "test.pass", "test.blend", "test.look")
GIVES_PICTURES = ("test.shade", "test.pass", "test.blend")


@dataclass(frozen=True)
class Source:
    """A stream: so many pictures, at this rate, by this policy; `options` go to the source."""

    frames: int
    fps: int
    policy: Policy = "block"
    queue: int = 1
    every: int = 1
    options: str = ""

    @property
    def live(self) -> bool:
        return "live=1" in self.options

    @property
    def lossless(self) -> bool:
        return not self.live and self.policy in ("block", "every")

    def kept(self) -> list[int]:
        """Frames that come through, where nothing is lost."""
        return list(range(0, self.frames, self.every))

    def times(self) -> list[int]:
        period = round(1e9 / self.fps)
        return [number * period for number in range(self.frames)]


@dataclass(frozen=True)
class Step:
    """A node: what it does, what it reads (streams are numbered first, then nodes), and in which lane."""

    op: str
    inputs: tuple[int, ...]
    home: str
    wait_ms: float = 0.0


@dataclass(frozen=True)
class Graph:
    """Streams and nodes. Everything that nobody reads goes to a file."""

    sources: tuple[Source, ...]
    steps: tuple[Step, ...]
    cores: int = 2
    together: int = 1
    """How many pictures `test.look` takes at once, of chains that share a lane."""
    delay_ms: float = 0.0

    def streams_of(self, value: int) -> tuple[int, ...]:
        """Streams that a value comes from, its anchor first."""
        if value < len(self.sources):
            return (value,)
        step = self.steps[value - len(self.sources)]
        return tuple(dict.fromkeys(stream for one in step.inputs for stream in self.streams_of(one)))

    def thins(self, value: int) -> bool:
        """Whether a value is not there for every frame."""
        if value < len(self.sources):
            return False
        step = self.steps[value - len(self.sources)]
        return step.op == "test.some" or any(map(self.thins, step.inputs))

    def lossless(self, value: int) -> bool:
        return all(self.sources[stream].lossless for stream in self.streams_of(value))

    def pure(self, value: int) -> bool:
        """Whether a value depends on its own frame alone."""
        if value < len(self.sources):
            return True
        step = self.steps[value - len(self.sources)]
        return step.op != "test.sum" and len(self.streams_of(value)) == 1 and all(map(self.pure, step.inputs))

    def leaves(self) -> list[int]:
        """Values that go to files: records that nobody reads."""
        first = len(self.sources)
        read = {one for step in self.steps for one in step.inputs}
        return [first + place for place, step in enumerate(self.steps) if first + place not in read and step.op not in GIVES_PICTURES]

    # ---- what must come out

    def expected(self) -> dict[int, dict[int, int]]:
        """x of every value by frame of its anchor stream, where every frame of every stream is processed."""
        found: dict[int, dict[int, int]] = {
            place: {seq: (7 * seq + 13) % LEVELS for seq in source.kept()} for place, source in enumerate(self.sources)
        }
        for place, step in enumerate(self.steps):
            value = len(self.sources) + place
            anchor = self.streams_of(value)[0]
            total, own = 0, found.setdefault(value, {})
            for seq in self.sources[anchor].kept():
                read = [found[one].get(self._seq_of(one, anchor, seq)) for one in step.inputs]
                if None in read:
                    continue
                given = [one for one in read if one is not None]
                match step.op:
                    case "test.shade":
                        own[seq] = (given[0] + 1) % LEVELS
                    case "test.pass" | "test.look":
                        own[seq] = given[0]
                    case "test.blend":
                        own[seq] = (3 * given[0] + given[1]) % LEVELS
                    case "test.mix":
                        own[seq] = (31 * given[0] + given[1]) % PRIME
                    case "test.sum":
                        total = own[seq] = (31 * total + given[0] + 1) % PRIME
                    case "test.some":
                        if seq % 3 == 0:
                            own[seq] = given[0]
        return found

    def _seq_of(self, value: int, anchor: int, seq: int) -> int:
        """The frame of a value that meets frame `seq` of the anchor: its own, or the latest of another stream that is not later."""
        stream = self.streams_of(value)[0]
        if stream == anchor:
            return seq
        now = self.sources[anchor].times()[seq]
        times = self.sources[stream].times()
        return max(number for number in self.sources[stream].kept() if times[number] <= now)

    # ---- its plan

    def plan(self, folder: Path | None, *, workers: Any = "threads", link: Any = "auto") -> Plan:
        """The plan, sized by the plan's own rules; results go to files in `folder`, or to the caller."""
        streams = [self._stream(place) for place in range(len(self.sources))]
        nodes: list[Node] = []
        specs: dict[Ref, Spec] = {Ref(stream.address, "image"): stream.spec for stream in streams}
        for place in range(len(self.steps)):
            nodes += [self._node(place, specs)]
        sinks = [self._sink(place, value, specs, folder) for place, value in enumerate(self.leaves())]
        home = self._homes(nodes, streams, sinks)
        layout = batched(lay_out(nodes, streams, sinks, home, cores=self.cores), nodes, specs)
        flowing = edges(layout, streams, specs)
        by_name = {stream.name: stream for stream in streams}
        sources = {chain.id: by_name[chain.stream] for chain in layout.chains if chain.stream is not None}
        replicas = {chain: lane.replicas for lane in layout.lanes for chain in lane.chains}
        return Plan(
            digest=sha256(repr((self, workers, link)).encode()).hexdigest(), nodes=tuple(nodes), streams=tuple(streams), sinks=tuple(sinks),
            models=(), chains=layout.chains, lanes=layout.lanes, edges=flowing, pools=pools(flowing, sources, replicas, specs),
            workers=workers, link=link, shared_memory_bytes=0, ram_bytes=0, latency_ms={},
        )  # fmt: skip

    def _stream(self, place: int) -> Stream:
        source = self.sources[place]
        uri = f"stamps:frames={source.frames}&fps={source.fps}&{source.options}"
        return Stream(
            f"s{place}", f"s{place}", uri, PICTURE, source.fps, source.live, source.policy, source.every, source.queue, reconnect=False
        )

    def _ref(self, value: int) -> Ref:
        if value < len(self.sources):
            return Ref(f"s{value}", "image")
        place = value - len(self.sources)
        return Ref(f"n{place}", "image" if self.steps[place].op in GIVES_PICTURES else "points")

    def _node(self, place: int, specs: dict[Ref, Spec]) -> Node:
        from ops import catalog

        step = self.steps[place]
        config = {"wait_ms": step.wait_ms, "together": self.together, "delay_ms": self.delay_ms} if step.op == "test.look" else {}
        inputs = tuple(zip(PORTS[step.op], map(self._ref, step.inputs), strict=True))
        kind = catalog.find(step.op)
        outputs = kind(kind.Config.model_validate(config)).infer({port: specs[ref] for port, ref in inputs})  # type: ignore[union-attr, call-arg]
        node = Node(
            f"n{place}", step.op, config, inputs, tuple(outputs.items()), "stateful" if step.op == "test.sum" else "pure",
            (f"g.n{place}",), ("g",), ("graph:1",), tuple(f"s{stream}" for stream in self.streams_of(len(self.sources) + place)),
            batch=Batching(self.together, self.delay_ms) if step.op == "test.look" and self.together > 1 else None,
        )  # fmt: skip
        specs.update({Ref(node.address, port): spec for port, spec in node.outputs})
        return node

    def _sink(self, place: int, value: int, specs: Mapping[Ref, Spec], folder: Path | None) -> Sink:
        ref = self._ref(value)
        streams = tuple(f"s{stream}" for stream in self.streams_of(value))
        target = "results:" if folder is None else str(folder / f"v{value}.jsonl")
        return Sink(place, "g", "1.0.0", f"v{value}", target, ref, specs[ref], streams[0], streams)

    def _homes(self, nodes: list[Node], streams: list[Stream], sinks: list[Sink]) -> Homes:
        if self.cores == 1:
            everything = Home(SOURCE, 0, "all")
            return Homes(
                {stream.name: everything for stream in streams},
                {node.address: everything for node in nodes}, {sink.id: everything for sink in sinks},
            )  # fmt: skip
        tail = Home(TAIL, 0, "tail")
        return Homes(
            {stream.name: Home(SOURCE, place, f"source {stream.name}") for place, stream in enumerate(streams)},
            {node.address: self._home(step, node) for step, node in zip(self.steps, nodes, strict=True)},
            {sink.id: tail for sink in sinks},
        )

    @staticmethod
    def _home(step: Step, node: Node) -> Home:
        kind, _, number = step.home.partition(" ")
        match kind:
            case "source":
                return Home(SOURCE, int(node.streams[0][1:]), f"source {node.streams[0]}")
            case "infer":
                return Home(INFER, int(number), step.home)
            case "shared":
                return Home(SHARED, int(number), step.home)
            case _:
                return Home(TAIL, 0, "tail")


@st.composite
def graphs(draw: st.DrawFn, *, most_steps: int = 6, frames: tuple[int, int] = (4, 30), live: bool = False, lossy: bool = True) -> Graph:
    """Streams of one to three sources through nodes in lanes of all kinds, which meet and part at random."""
    sources = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 2, 3]))):
        policies: list[Policy] = ["block", "block", "block"]
        if lossy:
            policies += ["latest", "drop_oldest", "every"]
        policy = draw(st.sampled_from(policies))
        options = f"fill={draw(st.integers(0, 1))}"
        if live and draw(st.booleans()):
            policy = draw(st.sampled_from(["latest", "drop_oldest"]))
            options = "live=1"
        sources.append(
            Source(
                draw(st.integers(*frames)), draw(st.sampled_from([25, 25, 10, 40] if not live else [200, 100, 80])), policy,
                queue=draw(st.integers(1, 3)) if policy == "drop_oldest" else 1, every=3 if policy == "every" else 1, options=options,
            )
        )  # fmt: skip
    graph = Graph(tuple(sources), (), draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([0.0, 0.0, 3.0])))
    for _ in range(draw(st.integers(1, most_steps))):
        graph = replace(graph, steps=(*graph.steps, draw(_steps(graph))))
    first = len(graph.sources)
    read = {one for step in graph.steps for one in step.inputs}
    for place, step in enumerate(graph.steps):  # pictures that nobody reads are looked at
        if first + place not in read and step.op in GIVES_PICTURES:
            graph = replace(graph, steps=(*graph.steps, Step("test.look", (first + place,), draw(st.sampled_from(["tail", "infer 0"])))))
    for source in range(first):
        if source not in {one for step in graph.steps for one in step.inputs}:
            graph = replace(graph, steps=(*graph.steps, Step("test.look", (source,), draw(st.sampled_from(["tail", "infer 0"])))))
    return graph


def _steps(graph: Graph) -> st.SearchStrategy[Step]:
    first = len(graph.sources)
    pictures = [*range(first), *(first + place for place, step in enumerate(graph.steps) if step.op in GIVES_PICTURES)]
    records = [first + place for place, step in enumerate(graph.steps) if step.op not in GIVES_PICTURES]
    ops = ["test.shade", "test.pass", "test.look", "test.look", "test.blend"]
    if records:
        ops += ["test.sum", "test.sum", "test.mix", "test.mix", "test.some"]

    @st.composite
    def step(draw: st.DrawFn) -> Step:
        op = draw(st.sampled_from(ops))
        among = pictures if op in TAKES_PICTURES else records
        inputs = [draw(st.sampled_from(among)) for _ in PORTS[op]]
        anchor = graph.streams_of(inputs[0])[0]
        others = {graph.streams_of(one)[0] for one in inputs} - {anchor}
        if others and any(map(graph.thins, inputs)):  # which frame is the latest then depends on how values share edges
            inputs = inputs[:1] * len(inputs)
        stateful = op == "test.sum"
        streams = tuple(dict.fromkeys(stream for one in inputs for stream in graph.streams_of(one)))
        places = ["tail", "shared 0", "shared 1"]
        if not stateful:
            places += ["infer 0", "infer 0", "infer 1"]
        if len(streams) == 1:
            places += ["source"]
        return Step(op, tuple(inputs), draw(st.sampled_from(places)))

    return step()
