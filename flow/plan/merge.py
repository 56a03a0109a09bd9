"""Equal work becomes one node: the address of what a node computes, and the nodes of all businesses by address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devices.engine import ModelInfo
from devices.spec import ManySpec, RecordsSpec, Spec
from flow.plan.canonical import digest
from flow.plan.place import Place, choices
from flow.plan.ports import Inferred, Value
from flow.plan.resolve import Draft
from flow.plan.value import OnError, Ref
from ops.contract import Operator

MILDEST: tuple[OnError, ...] = ("restart", "skip", "stop")
"""A node that several businesses share does what hurts the others least."""
DEADLINE_MS = 10_000.0


@dataclass(slots=True)
class Work:
    """A node in the making: one computation, and everybody who asked for it."""

    address: str
    op: type[Operator]
    config: Any
    model: ModelInfo | None
    inputs: dict[str, Ref]
    inferred: Inferred
    streams: tuple[str, ...]
    placement: dict[str, Any]
    places: Sequence[Place]
    names: list[str] = field(default_factory=list)
    businesses: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    on_error: OnError = "restart"
    deadlines: list[float] = field(default_factory=list)

    @property
    def deadline_ms(self) -> float:
        """The most patient of the deadlines that manifests set."""
        return max(self.deadlines, default=DEADLINE_MS)


def stream_address(name: str, device: str) -> str:
    """A stream is what the device calls it: two streams of one source are two streams."""
    return digest("stream", device, name)


def node_address(draft: Draft, inputs: Mapping[str, Ref], outputs: Mapping[str, Spec], code: str) -> str:
    """What decides a node's results: operator and its code, settings with defaults, model, and what it reads.

    Not where it runs, what it is called, or labels that nobody reads: tensors and pictures carry none.
    """
    settings = {key: value for key, value in draft.config.model_dump(mode="python").items() if key not in draft.op.placement}
    model = draft.model and (draft.model.digest, draft.model.inputs, draft.model.outputs, draft.model.input)
    labels = draft.model.labels if draft.model and any(map(_has_labels, outputs.values())) else ()
    alone = draft.name if draft.op.kind == "random" else None
    return digest("node", draft.op.op, code, settings, model, labels, inputs, alone)


class Merger:
    """The works of all businesses, in an order in which each comes after what it reads."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.works: list[Work] = []
        self.by_address: dict[str, list[Work]] = {}
        self.codes: dict[type, str] = {}

    def add(self, draft: Draft, values: Mapping[str, Value], inferred: Inferred) -> Work:
        """The work that does what the draft asks: one that exists, or a new one.

        Equal work that cannot be done in one place stays apart. Raises PlaceError when no place on this machine can do it.
        """
        code = self._code(draft.op)
        inputs = {port: value.ref for port, value in values.items()}
        address = node_address(draft, inputs, inferred.outputs, code)
        wanted = placement(draft)
        places = choices(self.machine, draft.op, draft.config, draft.model)
        twins = self.by_address.setdefault(address, [])
        for work in twins:
            both = _both(work, draft, wanted, places)
            if both is not None:
                work.placement, work.places = both
                return _joined(work, draft)
        if twins:
            address = digest("placed", address, wanted)
        streams = tuple(dict.fromkeys(stream for value in values.values() for stream in value.streams))
        work = Work(address, draft.op, draft.config, draft.model, inputs, inferred, streams, wanted, places, on_error=draft.use.on_error)
        twins.append(work)
        self.works.append(work)
        return _joined(work, draft)

    def _code(self, op: type[Operator]) -> str:
        from ops import catalog

        if op not in self.codes:
            self.codes[op] = catalog.code_digest(op)
        return self.codes[op]


def placement(draft: Draft) -> dict[str, Any]:
    """The settings that bind the work to a place; `auto` and None leave it open."""
    settings = {key: getattr(draft.config, key, None) for key in draft.op.placement}
    return {key: value for key, value in sorted(settings.items()) if value not in (None, "auto")}


def _both(work: Work, draft: Draft, wanted: Mapping[str, Any], places: Sequence[Place]) -> tuple[dict[str, Any], list[Place]] | None:
    """What both ask of the place, and the places that both can use; None when there is none."""
    if any(work.placement.get(key, value) != value for key, value in wanted.items()):
        return None
    common = [place for place in work.places if place in places]
    return ({**work.placement, **wanted}, common) if common else None


def _joined(work: Work, draft: Draft) -> Work:
    use = draft.use
    for many, one in ((work.names, draft.name), (work.businesses, use.business.name), (work.where, str(draft.position))):
        if one not in many:
            many.append(one)
    work.on_error = min(work.on_error, use.on_error, key=MILDEST.index)
    deadline = use.business.graph[draft.node].deadline_ms
    if deadline is not None:
        work.deadlines.append(deadline)
    return work


def _has_labels(spec: Spec) -> bool:
    return isinstance(spec.item if isinstance(spec, ManySpec) else spec, RecordsSpec)
