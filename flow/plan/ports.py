"""Whether ports fit: kinds, lists, required inputs, and what an operator gives for what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.spec import ImageSpec, ManySpec, Spec
from flow.plan.problems import Problems
from flow.plan.resolve import Draft
from flow.plan.value import Ref
from manifests.errors import did_you_mean, one_of
from ops.contract import Port, SpecError


@dataclass(frozen=True, slots=True)
class Value:
    """What flows into a port: where it is computed, what it is, which streams it stems from (the anchor first), and its manifest name."""

    ref: Ref
    spec: Spec
    streams: tuple[str, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Inferred:
    """Whole values by output port, and the input ports that are taken item by item."""

    outputs: Mapping[str, Spec]
    lifted: tuple[str, ...]


def wanted_format(port: Port, spec: Spec) -> str | None:
    """The pixel format a picture must be converted to before this port takes it: the port's best, or None when it fits."""
    item = spec.item if isinstance(spec, ManySpec) else spec
    if isinstance(item, ImageSpec) and "image" in port.kinds and port.formats and item.format not in port.formats:
        return port.formats[0]
    return None


def infer(draft: Draft, values: Mapping[str, Value], problems: Problems) -> Inferred | None:
    """Checks what a draft reads and asks the operator what it gives. None after problems, each naming both sides."""
    if not _wired(draft, values, problems):
        return None
    lifted = tuple(port for port, value in values.items() if isinstance(value.spec, ManySpec) and not draft.op.inputs[port].many)
    items: dict[str, Spec] = {}
    capacities: dict[str, int] = {}
    for port, value in values.items():
        spec = value.spec
        if port in lifted:
            assert isinstance(spec, ManySpec)
            capacities[port] = spec.capacity
            spec = spec.item
        items[port] = spec
    if len(set(capacities.values())) > 1:
        first, other = lifted[0], next(port for port in lifted if capacities[port] != capacities[lifted[0]])
        expected = f"{draft.name}.{other}: a list as long as {values[first].label} ({values[first].spec})"
        hint = "lists taken item by item must belong together"
        _report(draft, other, expected, f"{values[other].label}: {values[other].spec}", hint, problems)
        return None
    outputs = _asked(draft, values, items, problems)
    if outputs is None or not lifted:
        return None if outputs is None else Inferred(outputs, ())
    whole: dict[str, Spec] = {}
    for port, spec in outputs.items():
        if isinstance(spec, ManySpec):
            listed = values[lifted[0]]
            expected, got = f"{draft.name}: a single {' or '.join(draft.op.inputs[lifted[0]].kinds)}", f"{listed.label}: {listed.spec}"
            hint = f"it gives a list ({port}) for each item, and a list of lists has no meaning here"
            _report(draft, lifted[0], expected, got, hint, problems)
            return None
        whole[port] = ManySpec(spec, capacities[lifted[0]])
    return Inferred(whole, lifted)


def _wired(draft: Draft, values: Mapping[str, Value], problems: Problems) -> bool:
    """Whether every input is a port of the operator, of its kind, and none is missing."""
    known, fits = draft.op.inputs, True
    for port, value in values.items():
        if port not in known:
            _report(draft, port, f"{one_of(known)} (inputs of {draft.op.op})", port, did_you_mean(port, known), problems)
            fits = False
        elif value.spec.kind not in known[port].kinds:
            _report(draft, port, f"{draft.name}.{port}: {' or '.join(known[port].kinds)}", f"{value.label}: {value.spec}", "", problems)
            fits = False
    for port, kind in known.items():
        if port not in values and not kind.optional:
            _report(draft, port, f"{draft.name} to read {port} ({' or '.join(kind.kinds)})", "no such input", "", problems)
            fits = False
    if fits and not values:
        _report(draft, "", f"{draft.name} to read at least one input", "none", "", problems)
    return fits and bool(values)


def _asked(draft: Draft, values: Mapping[str, Value], items: Mapping[str, Spec], problems: Problems) -> dict[str, Spec] | None:
    """What `Operator.infer` says, held against the ports that the operator declares."""
    try:
        outputs = draft.op(draft.config, draft.model).infer(items)
    except SpecError as error:
        value = values.get(error.port)
        expected = f"{draft.name}.{error.port}: {error.expected}" if error.port else f"{draft.name}: {error.expected}"
        _report(draft, error.port, expected, f"{value.label}: {error.got}" if value else error.got, error.hint, problems)
        return None
    except Exception as error:
        hint = "this is a fault of the operator, not of the manifest"
        _report(draft, "", f"{draft.op.__name__}.infer to work for {draft.name}", f"{type(error).__name__}: {error}", hint, problems)
        return None
    declared = draft.op.outputs
    given = {port: spec for port, spec in outputs.items() if port in declared and spec.kind in declared[port].kinds}
    needed = {port for port, spec in declared.items() if not spec.optional}
    if not needed <= given.keys() or outputs.keys() != given.keys():
        expected = f"{draft.op.op} to give " + ", ".join(f"{port} ({' or '.join(kind.kinds)})" for port, kind in declared.items())
        got = ", ".join(f"{port}: {spec}" for port, spec in outputs.items()) or "nothing"
        _report(draft, "", expected, got, "this is a fault of the operator, not of the manifest", problems)
        return None
    return {port: outputs[port] for port in declared if port in outputs}


def _report(draft: Draft, port: str, expected: str, got: str, hint: str, problems: Problems) -> None:
    """A problem at the port's line where the manifest wrote one, else at the node's."""
    written = draft.use.business.graph[draft.node]
    if port == "model":
        path = f"graph.{draft.node}.model"
    elif port in written.inputs:
        path = f"graph.{draft.node}.in.{port}"
    else:
        path = f"graph.{draft.node}"
    problems.add(draft.use.at(path), path, expected=expected, got=got, hint=hint)
