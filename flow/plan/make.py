"""From a deployment to its plan: resolve, check, merge, place, chain, size, admit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from devices.spec import Spec
from flow.plan import outputs as results
from flow.plan.admit import Budget, available_memory, budget, labels, refuse
from flow.plan.batches import batched
from flow.plan.canonical import digest
from flow.plan.chains import lay_out
from flow.plan.edges import depths, edges, link_credits
from flow.plan.graph import Graph, build
from flow.plan.homes import homes
from flow.plan.pools import pools, waiting
from flow.plan.problems import Problems
from flow.plan.resolve import Resolved, resolve
from flow.plan.streams import Prober, look_at_streams
from flow.plan.transfer import nodes as placed
from flow.plan.value import LinkMode, Node, Plan, Ref, Sink, Stream, WorkerMode
from manifests.deployment import Deployment

NOT_RESULTS = frozenset({"names", "businesses", "where", "source", "secret", "target", "title", "manifest", "why", "kept"})
"""Fields that decide neither results nor placement: names, positions, paths, secrets; and what sizes of pools say better."""


def make_plan(
    deployment: Deployment,
    *,
    out: results.Out | None = None,
    workers: WorkerMode = "auto",
    link: LinkMode = "auto",
    cores: int | None = None,
    memory: int | None = None,
    probe: Prober | None = None,
    live: bool = False,
) -> Plan:
    """The plan of everything a device runs.

    `out` maps outputs (`pets`, or `pet.pets`) to targets; without it every output goes to the Python caller (`results:`). `cores` and
    `memory` (bytes) default to what this process may use. `probe` looks at sources (default: `flow.sources.probe`). `live`: the plan is
    going to be changed while it runs, so every source gets a worker to itself.

    Raises ManifestError with every problem found, each at its line: unknown names, settings, ports or models that do not fit, sources that
    cannot be opened, targets that cannot be written, less memory than the plan needs. Nothing is allocated or started.
    """
    from devices import registry
    from devices.cpu import usable_cores

    problems = Problems()
    streams = look_at_streams(deployment, probe, problems)
    cores = usable_cores() if cores is None else max(1, cores)
    memory = available_memory() if memory is None else memory

    def planned(deployment: Deployment, out: results.Out | None) -> tuple[Budget, Plan]:
        resolved = resolve(deployment, problems)
        graph = build(resolved, streams, deployment.device, registry.available(), problems)
        sinks = results.sinks(results.targets(deployment, resolved.outputs, out, problems), resolved.drafts, graph, problems)
        problems.check()
        return _plan(deployment, graph, _live(placed(graph), graph, resolved, sinks), sinks, workers, link, cores, live)

    needed, made = planned(deployment, out)
    if needed.bytes > memory:
        refuse(needed, memory, deployment.device, _fitting(deployment, out, planned, memory), problems)
    problems.check()
    return made


Planned = Callable[[Deployment, results.Out | None], tuple[Budget, Plan]]


def _fitting(deployment: Deployment, out: results.Out | None, planned: Planned, memory: int) -> tuple[str, ...]:
    """Without which businesses the plan would fit: those of least priority first, of equals the last; none where none is left."""
    uses = deployment.uses
    order = sorted(range(len(uses)), key=lambda place: (uses[place].business.priority, -place))
    for count in range(1, len(uses)):
        rest = replace(deployment, uses=tuple(use for place, use in enumerate(uses) if place not in order[:count]))
        if planned(rest, results.among(rest, out))[0].bytes <= memory:
            return tuple(f"{use.business.name} (priority {use.business.priority})" for use in (uses[place] for place in order[:count]))
    return ()


def _plan(
    deployment: Deployment, graph: Graph, nodes: list[Node], sinks: list[Sink], workers: WorkerMode, link: LinkMode, cores: int,
    live: bool,
) -> tuple[Budget, Plan]:  # fmt: skip
    read = {ref.address for node in nodes for _, ref in node.inputs} | {sink.value.address for sink in sinks}
    streams = [stream for stream in graph.streams.values() if stream.address in read]
    models = _models(graph, nodes)
    home = homes(nodes, streams, sinks, cores=cores, models=models, live=live)
    specs = _specs(nodes, streams)
    layout = batched(lay_out(nodes, streams, sinks, home, cores=cores), nodes, specs)
    flowing = edges(layout, streams, specs)
    by_name = {stream.name: stream for stream in streams}
    sources = {chain.id: by_name[chain.stream] for chain in layout.chains if chain.stream is not None}
    replicas = {chain: lane.replicas for lane in layout.lanes for chain in lane.chains}
    memory = pools(flowing, sources, replicas, specs)
    names = {node.address: node.names[0] for node in nodes} | {stream.address: stream.name for stream in streams}
    processes = workers != "threads"
    to_program = sum(sink.target == results.RESULTS for sink in sinks)
    needed = budget(layout, flowing, memory, nodes, models, processes=processes, labels=labels(specs, names), results=to_program)
    parts: dict[str, Any] = {
        "nodes": tuple(nodes),
        "streams": tuple(streams),
        "sinks": tuple(sinks),
        "chains": layout.chains,
        "lanes": layout.lanes,
        "edges": flowing,
        "pools": memory,
        "workers": "processes" if processes else "threads",
        "link": link,
    }
    depth = depths(layout, link_credits(layout, streams))
    at = {sink: chain.id for chain in layout.chains for sink in chain.sinks}
    in_flight: dict[str, int] = {}
    for sink in sinks:
        frames = depth[at[sink.id]] + max(waiting(by_name[name]) for name in sink.streams)
        in_flight[_name(sink)] = max(frames, in_flight.get(_name(sink), 0))
    plan = Plan(
        digest=digest("plan", _decisive(parts)),
        models=tuple(models),
        shared_memory_bytes=needed.shared_bytes,
        ram_bytes=needed.ram_bytes,
        latency_ms=_goals(deployment, "latency_ms"),
        rates=_goals(deployment, "rate"),
        frames_in_flight=in_flight,
        changes=tuple(
            f"{use.business.name}.{key} = {value} ({use.at(f'set.{key}')})" for use in deployment.uses for key, value in use.set.items()
        ),
        priorities={use.business.name: use.business.priority for use in deployment.uses},
        live=live,
        **parts,
    )
    return needed, plan


def _goals(deployment: Deployment, key: str) -> dict[str, float]:
    """This goal of each output whose business has it."""
    return {
        f"{use.business.name}.{output}": goal
        for use in deployment.uses
        for output in use.business.outputs
        if (goal := getattr(use.business.goals, key)) is not None
    }


def _name(sink: Sink) -> str:
    return f"{sink.business}.{sink.output}"


def _live(nodes: list[Node], graph: Graph, resolved: Resolved, sinks: list[Sink]) -> list[Node]:
    """Nodes that something reads: an output, a sink, or the manifest's own nodes; parts of composites that nobody reads are left out."""
    by_address = {node.address: node for node in nodes}
    front = [value.ref.address for draft in resolved.read for value in (graph.values[draft] or {}).values()]
    front += [sink.value.address for sink in sinks]
    wanted: set[str] = set()
    while front:
        address = front.pop()
        if address in by_address and address not in wanted:
            wanted.add(address)
            front += [ref.address for _, ref in by_address[address].inputs]
    return [node for node in nodes if node.address in wanted]


def _models(graph: Graph, nodes: list[Node]) -> list[Any]:
    wanted = {node.address for node in nodes}
    return list(dict.fromkeys(work.model for work in graph.works if work.model is not None and work.address in wanted))


def _specs(nodes: list[Node], streams: list[Stream]) -> dict[Ref, Spec]:
    found: dict[Ref, Spec] = {Ref(stream.address, "image"): stream.spec for stream in streams}
    found.update({Ref(node.address, port): spec for node in nodes for port, spec in node.outputs})
    return found


def _decisive(value: Any) -> Any:
    """The value without what decides neither results nor placement."""
    match value:
        case dict():
            return {key: _decisive(item) for key, item in value.items()}
        case tuple():
            return tuple(map(_decisive, value))
        case Node() | Stream() | Sink():
            return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in NOT_RESULTS} | {
                "is": type(value).__name__
            }
        case _:
            return value
