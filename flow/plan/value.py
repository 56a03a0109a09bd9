"""The plan: one immutable value that is drawn, explained, compared and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from devices.engine import Batching, ModelInfo
from devices.spec import ImageSpec, Spec

Policy = Literal["block", "latest", "drop_oldest", "every"]
OnError = Literal["restart", "skip", "stop"]
WorkerMode = Literal["auto", "threads", "processes"]
LinkMode = Literal["auto", "zmq"]


@dataclass(frozen=True, slots=True)
class Ref:
    """An output port of a node, or of a stream (whose only port is `image`)."""

    address: str
    port: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operator on one device, doing the work of every business that asked for it.

    `address` is the hash of all that decides its results. `names` are the manifests' (`pet.boxes › decode.yolox`), `where` their
    `file:line`. `lifted`: input ports that carry a list taken item by item (the operator runs once an item). `outputs` are the specs of
    whole values (lists included). `deadline_ms` bounds one run before the worker counts as stalled. `model` is a file's digest, `manifest`
    (`name@version`) says which of the Model manifests with this file. `why` says why this engine runs it.
    """

    address: str
    op: str
    config: Mapping[str, Any]
    inputs: tuple[tuple[str, Ref], ...]
    outputs: tuple[tuple[str, Spec], ...]
    kind: Literal["pure", "stateful", "random"]
    names: tuple[str, ...]
    businesses: tuple[str, ...]
    where: tuple[str, ...]
    streams: tuple[str, ...]
    model: str | None = None
    lifted: tuple[str, ...] = ()
    device: str = "cpu"
    engine: str | None = None
    on_error: OnError = "restart"
    deadline_ms: float = 10_000.0
    manifest: str | None = None
    batch: Batching | None = None
    """How frames of several streams go through equal nodes together; None: each alone."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """A source of frames. `spec` is the largest picture expected, in the source's own format; `source` never holds a secret."""

    name: str
    address: str
    source: str
    spec: ImageSpec
    fps: float
    live: bool
    policy: Policy = "block"
    every: int = 1
    queue: int = 1
    secret: str | None = None
    loop: bool = False
    reconnect: bool = True
    options: Mapping[str, Any] | None = None
    kept: int = 0
    """Pictures that it shows again and again, which stay where consumers read them."""

    @property
    def period_ns(self) -> float:
        """From one frame that is not left out to the next."""
        return 1e9 * self.every / self.fps


@dataclass(frozen=True, slots=True)
class Sink:
    """Where an output goes. `value` is what is written (records, or the drawn picture of a video sink)."""

    id: int
    business: str
    version: str
    output: str
    target: str
    value: Ref
    spec: Spec
    stream: str
    streams: tuple[str, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """Neighbouring nodes that run one after another on each frame, with no hop between.

    A chain begins at a `stream` (it decodes) or at its in-edges; `nodes` are addresses in running order; `sinks` are ids.
    """

    id: int
    nodes: tuple[str, ...]
    stream: str | None = None
    sinks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Chains of one lane with equal nodes for different streams. `nodes`: a group of equal nodes each.

    Up to `most` frames, one of each chain, go through such nodes together; the first of them waits for others at most `delay_ms`.
    """

    chains: tuple[int, ...]
    nodes: tuple[tuple[str, ...], ...]
    most: int
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One worker (or `replicas` of it, frames dealt out in turn and put back in order): chains on one device, with its threads."""

    id: int
    name: str
    chains: tuple[int, ...]
    device: str = "cpu"
    threads: int = 1
    replicas: int = 1
    batches: tuple[Batch, ...] = ()
    shadow: bool = False
    """Whether it only tries something out: it steps back for all others, and is given up at its first failure."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames on which something is tried out: one span in `every`. A span is so many numbers of frames long (those that the stream itself
    leaves out included).

    `timed`: so many ns. Streams that meet are sampled in the same spans of time, whatever their rates: what meets in one plan then meets
    in the other too.
    """

    every: int
    span: int = 1
    timed: bool = False

    def takes(self, seq: int, pts_ns: int) -> bool:
        """Whether a frame is one of them."""
        return (pts_ns if self.timed else seq) // self.span % self.every == 0

    @property
    def lap_ns(self) -> int:
        """From the begin of one span of time to that of the next; 0 where spans are of numbers."""
        return self.span * self.every if self.timed else 0


@dataclass(frozen=True, slots=True)
class Edge:
    """Frames from one chain to another. `capacity` bounds the frames in flight; `payload` the bytes that travel beside descriptors.

    `policy` is `block` everywhere but behind a source that thins its frames. Each replica of the producer may have `capacity` frames on
    their way, dealt out evenly to the replicas of the consumer. Edges with the same `together` meet again in a join: a frame that
    is thinned out of one of them is of no use on the others, so it goes on all of them or on none.
    """

    id: int
    producer: int
    consumer: int
    refs: tuple[Ref, ...]
    capacity: int
    payload: int
    policy: Policy = "block"
    queue: int = 1
    together: int | None = None
    sample: Sample | None = None
    """Only these frames, to begin with, are offered at all, and nobody waits for who takes them."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Slots for the pictures or tensors that leave a chain on `ref`; each replica of the chain's lane owns one such pool."""

    chain: int
    ref: Ref
    slots: int
    slot_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, where, and what it needs. `digest` covers everything that decides results and placement.

    `latency_ms` and `rates` (results a second) are the goals of outputs (`business.output`) that have one. `frames_in_flight` bounds the
    frames between the source and an output: a live result is never older than that many frames, and one more, take in the slowest stage.
    `changes` are the settings that the device changed for one of its businesses, `priorities` what each business is worth (0 to 100).
    """

    digest: str
    nodes: tuple[Node, ...]
    streams: tuple[Stream, ...]
    sinks: tuple[Sink, ...]
    models: tuple[ModelInfo, ...]
    chains: tuple[Chain, ...]
    lanes: tuple[Lane, ...]
    edges: tuple[Edge, ...]
    pools: tuple[Pool, ...]
    workers: Literal["threads", "processes"]
    link: LinkMode
    shared_memory_bytes: int
    ram_bytes: int
    latency_ms: Mapping[str, float]
    rates: Mapping[str, float] = field(default_factory=dict)
    frames_in_flight: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    priorities: Mapping[str, int] = field(default_factory=dict)
    live: bool = False
    """Whether it is going to change while it runs."""

    def node(self, address: str) -> Node:
        """The node at this address. Raises KeyError."""
        for node in self.nodes:
            if node.address == address:
                return node
        raise KeyError(address)

    def model(self, node: Node) -> ModelInfo | None:
        """The model that a node uses, as its manifest describes it; None for a node without one."""
        fits = [model for model in self.models if model.digest == node.model]
        named = [model for model in fits if f"{model.name}@{model.version}" == node.manifest]
        return next(iter(named or fits), None)

    def stream(self, name: str) -> Stream:
        """The stream of this name. Raises KeyError."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(name)
