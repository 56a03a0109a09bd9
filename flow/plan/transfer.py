"""From merged works to nodes: each is given its place, and what lies in another memory domain is brought there by a node of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import to_jsonable_python

from devices.engine import Batching
from devices.spec import ManySpec, RecordsSpec, Spec, in_domain
from flow.plan.canonical import digest, encode
from flow.plan.graph import Graph
from flow.plan.merge import Work
from flow.plan.place import Place
from flow.plan.value import Node, Ref

TRANSFER = "memory.transfer"
HOST = "cpu"


def nodes(graph: Graph) -> list[Node]:
    """Nodes in running order. A transfer belongs to the device whose memory is not the host's; between two devices lie two transfers.

    Addresses do not see transfers: they say what is computed, not where.
    """
    carrier = _Carrier()
    for stream in graph.streams.values():
        carrier.specs[Ref(stream.address, "image")] = stream.spec
        carrier.streams_of[stream.address] = (stream.name,)
    for work in graph.works:
        carrier.place(work, work.places[0])
    return list(carrier.nodes.values())


class _Carrier:
    def __init__(self) -> None:
        self.specs: dict[Ref, Spec] = {}
        self.streams_of: dict[str, tuple[str, ...]] = {}
        self.nodes: dict[str, Node] = {}
        self.place_of: dict[str, Place] = {}

    def place(self, work: Work, place: Place) -> None:
        """Adds the work's node, and before it whatever brings its inputs there."""
        inputs = tuple((port, self._brought(ref, place, work)) for port, ref in work.inputs.items())
        explicit = work.op.op == TRANSFER
        outputs = {port: spec if explicit else in_domain(spec, place.domain) for port, spec in work.inferred.outputs.items()}
        node = Node(
            address=work.address,
            op=work.op.op,
            config=settings(work.config, work.op.placement, place),
            inputs=inputs,
            outputs=tuple(outputs.items()),
            kind=work.op.kind,
            names=tuple(work.names),
            businesses=tuple(work.businesses),
            where=tuple(work.where),
            streams=work.streams,
            model=work.model.digest if work.model else None,
            manifest=f"{work.model.name}@{work.model.version}" if work.model else None,
            lifted=work.inferred.lifted,
            device=place.device,
            engine=place.engine,
            why=place.why,
            on_error=work.on_error,
            deadline_ms=work.deadline_ms,
            batch=_batching(work, place),
        )
        self._add(node, place)

    def _add(self, node: Node, place: Place) -> None:
        self.nodes[node.address] = node
        self.place_of[node.address] = place
        self.streams_of[node.address] = node.streams
        self.specs.update({Ref(node.address, port): spec for port, spec in node.outputs})

    def _brought(self, ref: Ref, place: Place, work: Work) -> Ref:
        """The value where the work can read it."""
        domain = self.specs[ref].domain
        if domain == place.domain or isinstance(_item(self.specs[ref]), RecordsSpec):
            return ref
        if domain != HOST:
            ref = self._moved(ref, HOST, self.place_of[ref.address], work)
        return ref if place.domain == HOST else self._moved(ref, place.domain, place, work)

    def _moved(self, ref: Ref, domain: str, place: Place, work: Work) -> Ref:
        from ops import catalog

        op: Any = catalog.find(TRANSFER)
        (source,), (result,) = op.inputs, op.outputs
        address = digest("transfer", ref, domain)
        names = tuple(f"{name} › {TRANSFER}" for name in work.names)
        known = self.nodes.get(address)
        if known is None:
            node = Node(
                address=address,
                op=TRANSFER,
                config=settings(op.Config(to=domain, source=self.specs[ref].domain), op.placement, place),
                inputs=((source, ref),),
                outputs=((result, in_domain(self.specs[ref], domain)),),
                kind="pure",
                names=names,
                businesses=tuple(work.businesses),
                where=tuple(work.where),
                streams=self.streams_of[ref.address],
                lifted=(source,) if isinstance(self.specs[ref], ManySpec) else (),
                device=place.device,
                on_error=work.on_error,
            )
            self._add(node, place)
        else:
            self.nodes[address] = replace(
                known,
                names=_union(known.names, names),
                businesses=_union(known.businesses, work.businesses),
                where=_union(known.where, work.where),
            )
        return Ref(address, result)


def _batching(work: Work, place: Place) -> Batching | None:
    """How the operator takes several frames at once; not items of a list, and not where memory is a device's own."""
    if work.op.kind != "pure" or work.inferred.lifted or place.domain != HOST:
        return None
    batch = work.op(work.config, work.model).batching()
    return batch if batch is not None and batch.most > 1 else None


def settings(config: Any, placement: frozenset[str], place: Place) -> dict[str, Any]:
    """The operator's settings as plain JSON values (sets sorted), with the place filled in where they leave it open."""
    values: dict[str, Any] = plain(config.model_dump(mode="python"))
    for key, value in (("device", place.device), ("engine", place.engine)):
        if key in placement and key in values and value is not None:
            values[key] = value
    return values


def plain(value: Any) -> Any:
    """The value as JSON has it: text, numbers, lists, mappings; the same for the same settings in every run."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=encode)
        case _:
            return to_jsonable_python(value)


def _item(spec: Spec) -> Any:
    return spec.item if isinstance(spec, ManySpec) else spec


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
