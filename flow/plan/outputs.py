"""Outputs: which of them go where, and the drawing that a video sink needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devices.spec import ImageSpec, ManySpec, TensorsSpec
from flow.plan.graph import Graph
from flow.plan.ports import Value
from flow.plan.problems import Problems
from flow.plan.resolve import Draft, Origin, Output
from flow.plan.value import Sink
from flow.sinks.contract import SinkError
from manifests.deployment import Deployment, Position
from manifests.errors import did_you_mean, one_of
from ops.contract import Operator

DRAW = "draw.results"
RESULTS = "results:"
"""The target that hands results to the Python caller."""
SHARED = ("-", RESULTS)
"""Targets that several outputs may have at once."""

Out = Mapping[str, Sequence[str]]
"""`output` or `business.output`: its targets."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output and one place it goes to."""

    output: Output
    target: str
    position: Position


def targets(deployment: Deployment, outputs: Sequence[Output], out: Out | None, problems: Problems) -> list[Wanted]:
    """What is to be written of `outputs`, those of the deployment that were resolved. Without `out` every output goes to the Python
    caller; with it, only what it names.
    """
    if not out:
        return [Wanted(output, RESULTS, output.position) for output in outputs]
    declared = [(use.business.name, output) for use in deployment.uses for output in use.business.outputs]
    known, short = [f"{business}.{output}" for business, output in declared], [output for _, output in declared]
    wanted: list[Wanted] = []
    for name, given in out.items():
        named = [output for output in outputs if name in (f"{output.use.business.name}.{output.name}", output.name)]
        businesses = {output.use.business.name for output in named}
        position = Position(f"--out {name}")
        if name not in known and name not in short:
            names = [long if short.count(brief) > 1 else brief for long, brief in zip(known, short, strict=True)]
            problems.add(position, "", expected=one_of(names), got=name, hint=did_you_mean(name, [*short, *known]))
        elif len(businesses) > 1:
            problems.add(
                position, "", expected=one_of(f"{each}.{name}" for each in sorted(businesses)), got=name, hint="say of which business"
            )
        else:
            wanted += [Wanted(output, target, position) for output in named for target in given]
    return _apart(wanted, problems)


def among(deployment: Deployment, out: Out | None) -> Out:
    """`out` without outputs that the deployment has not."""
    known = {name for use in deployment.uses for output in use.business.outputs for name in (output, f"{use.business.name}.{output}")}
    return {name: given for name, given in (out or {}).items() if name in known}


def _apart(wanted: Sequence[Wanted], problems: Problems) -> list[Wanted]:
    """Two outputs cannot be written to one file or address."""
    writer: dict[str, Wanted] = {}
    for each in wanted:
        place = each.target if ":" in each.target or each.target in SHARED else str(Path(each.target).absolute())
        first = writer.setdefault(place, each)
        if first is not each and place not in SHARED:
            expected = "a target of its own for each output and business"
            taken = f"{each.target}, which {first.output.use.business.name}.{first.output.name} is written to"
            problems.add(each.position, "", expected=expected, got=taken)
    return list(wanted)


def sinks(wanted: Sequence[Wanted], drafts: Sequence[Draft], graph: Graph, problems: Problems) -> list[Sink]:
    """A sink for each target, its target checked; a picture sink gets a node that draws the output on its stream's picture."""
    made: list[Sink] = []
    for each in wanted:
        if _is_source(each, graph, problems):
            continue
        value = graph.value(each.output.origin)
        pictures = value and _takes_pictures(each, value, problems)
        if value is None or pictures is None:
            continue
        shown = _drawn(each.output, value, drafts, graph) if pictures and not isinstance(value.spec, ImageSpec) else value
        if shown is None:
            continue
        business, output = each.output.use.business, each.output
        made.append(
            Sink(
                id=len(made),
                business=business.name,
                version=business.version,
                output=output.name,
                target=each.target,
                value=shown.ref,
                spec=shown.spec,
                stream=value.streams[0],
                streams=value.streams,
                where=str(output.position),
            )
        )
    return made


def _is_source(wanted: Wanted, graph: Graph, problems: Problems) -> bool:
    """Whether the target is a file that a stream is read from, which writing would destroy; a problem then."""
    if ":" in wanted.target.removeprefix("file:") or wanted.target in SHARED:
        return False
    target = Path(wanted.target.removeprefix("file:"))
    for stream in graph.streams.values():
        source = Path(stream.source.removeprefix("file:"))
        try:
            same = target.samefile(source)
        except OSError:
            continue
        if same:
            expected = "a file that no stream is read from"
            problems.add(wanted.position, "", expected=expected, got=f"{wanted.target}, the source of stream {stream.name}")
            return True
    return False


def _takes_pictures(wanted: Wanted, value: Value, problems: Problems) -> bool | None:
    """Whether the target's sink wants the annotated picture; None after a problem."""
    name = f"{wanted.output.use.business.name}.{wanted.output.name}"
    if isinstance(value.spec, TensorsSpec) or (isinstance(value.spec, ManySpec) and isinstance(value.spec.item, TensorsSpec)):
        expected = f"{name} to give detections, classes, landmarks, events, points or pictures"
        hint = "name the operator that makes results of them"
        problems.add(wanted.output.position, f"outputs.{wanted.output.name}", expected=expected, got=str(value.spec), hint=hint)
        return None
    if wanted.target == RESULTS:
        return False
    from flow import sinks as kinds

    try:
        sink = kinds.find(wanted.target)
        sink.check(wanted.target)
    except SinkError as error:
        problems.add(wanted.position, "", expected=f"a place where {name} can be written", got=str(error))
        return None
    return sink.wants == "picture"


def _drawn(output: Output, value: Value, drafts: Sequence[Draft], graph: Graph) -> Value | None:
    """The anchor stream's picture with the output drawn on it, and what its operator reads and is set to as far as that can be drawn."""
    from ops import catalog

    use = output.use
    node = use.business.outputs[output.name].partition(".")[0]
    op = catalog.find(DRAW)
    assert issubclass(op, Operator)
    maker = drafts[output.origin.draft]
    config = op.Config.model_validate({key: [getattr(maker.config, own)] for own, key in maker.op.drawn.items()})
    draft = Draft(f"{use.business.name}.{output.name} › {DRAW}", node, use, op, config, None, {})
    picture = graph.value(Origin(f"the picture of {value.streams[0]}", output.position, f"outputs.{output.name}", stream=value.streams[0]))
    read = [found for origin in maker.inputs.values() if (found := graph.value(origin)) and found.spec.kind in op.inputs]
    shown = {each.spec.kind: each for each in (*read, value)}
    made = graph.add(draft, {**shown, "image": picture}) if picture is not None else None
    if made is None:
        return None
    drawn = next(iter(made.values()))
    if isinstance(drawn.spec, ImageSpec):
        return drawn
    expected = f"{use.business.name}.{output.name} to be something that can be drawn on one picture"
    graph.problems.add(output.position, f"outputs.{output.name}", expected=expected, got=f"{value.label}: {value.spec}")
    return None
