"""The checked graph of a whole deployment: streams, nodes and what flows between them, equal work merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flow.plan.merge import Merger, Work, stream_address
from flow.plan.place import PlaceError
from flow.plan.ports import Value, infer, wanted_format
from flow.plan.problems import Problems
from flow.plan.resolve import Draft, Origin, Resolved
from flow.plan.value import Ref, Stream
from manifests.errors import one_of
from ops.contract import Operator

CONVERTER = "image.convert"


@dataclass(slots=True)
class Graph:
    """Works in running order; `values[i]` are the output ports of draft i, None where a problem stands in the way."""

    works: list[Work]
    values: list[Mapping[str, Value] | None]
    streams: Mapping[str, Stream]
    merger: Merger
    problems: Problems

    def value(self, origin: Origin) -> Value | None:
        """What flows out of an origin; None where a problem stands in the way. An operator may give fewer ports than it has."""
        if origin.stream is not None:
            stream = self.streams.get(origin.stream)
            return Value(Ref(stream.address, "image"), stream.spec, (stream.name,), origin.label) if stream is not None else None
        made = self.values[origin.draft]
        if made is None:
            return None
        port = next(iter(made)) if not origin.port and len(made) == 1 else origin.port
        if port in made:
            return replace(made[port], label=origin.label)
        reference = origin.label.partition(".")[2]
        node = reference.removesuffix(f".{origin.port}")
        expected = one_of(f"{node}.{port}" for port in made) + f" (what {node} gives with these settings)"
        self.problems.add(origin.position, origin.path, expected=expected, got=reference)
        return None

    def add(self, draft: Draft, given: Mapping[str, Value]) -> Mapping[str, Value] | None:
        """Checks and merges one draft, with the conversions its ports need. None after problems."""
        values: dict[str, Value] = {}
        for port in sorted(given, key=_port_order(draft.op)):
            value = self._converted(draft, port, given[port])
            if value is None:
                return None
            values[port] = value
        inferred = infer(draft, values, self.problems)
        if inferred is None:
            return None
        path = f"graph.{draft.node}"
        try:
            work = self.merger.add(draft, values, inferred)
        except PlaceError as error:
            path = f"{path}.config.{error.key}"
            self.problems.add(draft.use.at(path), path, expected=f"{draft.name}: {error.expected}", got=error.got, hint=error.hint)
            return None
        except (TypeError, ValueError) as error:
            self.problems.add(draft.position, f"{path}.config", expected=f"settings of {draft.name} that can be compared", got=str(error))
            return None
        return {port: Value(Ref(work.address, port), spec, work.streams, f"{draft.name}.{port}") for port, spec in inferred.outputs.items()}

    def _converted(self, draft: Draft, port: str, value: Value) -> Value | None:
        kind = draft.op.inputs.get(port)
        wanted = kind and wanted_format(kind, value.spec)
        if wanted is None:
            return value
        from ops import catalog

        op = catalog.find(CONVERTER)
        assert issubclass(op, Operator)
        between = Draft(f"{draft.name} › {CONVERTER}", draft.node, draft.use, op, op.Config.model_validate({"format": wanted}), None, {})
        (source,), (result,) = op.inputs, op.outputs
        made = self.add(between, {source: value})
        return made[result] if made is not None else None


def build(resolved: Resolved, streams: Sequence[Stream], device: str, machine: Any, problems: Problems) -> Graph:
    """Checks every draft in order and merges equal ones. What reads something that failed is left out without a problem of its own."""
    named = {stream.name: replace(stream, address=stream_address(stream.name, device)) for stream in streams}
    merger = Merger(machine)
    graph = Graph(merger.works, [], named, merger, problems)
    for draft in resolved.drafts:
        given = {port: graph.value(origin) for port, origin in draft.inputs.items()}
        present = {port: value for port, value in given.items() if value is not None}
        graph.values.append(graph.add(draft, present) if len(present) == len(given) else None)
    return graph


def _port_order(op: type[Operator]) -> Any:
    """The order in which the operator declares its ports: a join's first input is its anchor."""
    order = list(op.inputs)
    return lambda port: order.index(port) if port in order else len(order)
