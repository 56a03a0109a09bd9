"""A plan as plain text: streams, workers with what they run, what flows between them, and memory."""

from __future__ import annotations

from collections.abc import Sequence

from flow.plan.priority import niceness
from flow.plan.value import Batch, Chain, Lane, Node, Plan, Ref, Sink, Stream


def text(plan: Plan) -> str:
    """The plan as a few tables. No secret is part of a plan, so none is shown."""
    names = value_names(plan)
    parts = [f"plan {plan.digest}: {_count(plan.nodes, 'node')} in {_count(plan.lanes, 'lane')} ({plan.workers}, link {plan.link})"]
    parts += ["", "Streams", *table(("", "source", "picture", "fps", "overload"), [_stream(stream) for stream in plan.streams])]
    chains = {chain.id: chain for chain in plan.chains}
    for lane in plan.lanes:
        rows = _rows(plan, [chains[chain] for chain in lane.chains], names)
        parts += ["", _heading(lane, niceness(plan, lane)), *map(together, lane.batches), *table(("", "node", "reads", "gives"), rows)]
    if running := engines(plan):
        parts += ["", "Engines", *table(("model", "runs on", "because"), running)]
    if plan.edges:
        flowing = [
            (f"{edge.producer} → {edge.consumer}", ", ".join(names[ref] for ref in edge.refs), f"{edge.capacity} frames", edge.policy)
            for edge in plan.edges
        ]
        parts += ["", "Between chains", *table(("", "values", "at most", "when full"), flowing)]
    if plan.changes:
        parts += ["", "Set by the device", *(f"  {change}" for change in plan.changes)]
    if wanted := goals(plan):
        parts += ["", "Goals", *table(("", ""), list(wanted.items()))[1:]]
    parts += ["", "Memory", *_memory(plan, names)]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned to the left, indented, two blanks apart."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def value_names(plan: Plan) -> dict[Ref, str]:
    """What each value is called: the stream's name, or the first name of its node (with the port where it has several)."""
    names = {Ref(stream.address, "image"): stream.name for stream in plan.streams}
    for node in plan.nodes:
        for port, _ in node.outputs:
            names[Ref(node.address, port)] = node.names[0] + (f".{port}" if len(node.outputs) > 1 else "")
    return names


def size(count: int) -> str:
    """Bytes in megabytes."""
    return f"{count / 1e6:.1f} MB"


def overload(stream: Stream) -> str:
    """What happens to frames that nobody has time for."""
    match stream.policy:
        case "every":
            return f"every {stream.every}"
        case "drop_oldest":
            return f"drop_oldest, {stream.queue} waiting"
        case other:
            return other


def _stream(stream: Stream) -> tuple[str, ...]:
    return stream.name, stream.source, str(stream.spec).removeprefix("image "), f"{stream.fps:g}", overload(stream)


def _heading(lane: Lane, nice: int) -> str:
    workers = f"{lane.replicas} workers" if lane.replicas > 1 else "1 worker"
    threads = f", {lane.threads} threads each" if lane.threads > 1 else ""
    back = f", nice {nice} for its priority" if nice else ""
    return f"Lane {lane.id}, {lane.name}: {workers} on {lane.device}{threads}{back}"


def together(batch: Batch) -> str:
    """What goes through equal nodes at once: `  chains 3, 4, 5: up to 3 frames at once, of what waits`."""
    chains = ", ".join(map(str, batch.chains))
    delay = f"none waits longer than {batch.delay_ms:g} ms for others" if batch.delay_ms else "of those that wait already"
    return f"  chains {chains}: up to {batch.most} frames at once, one of each; {delay}"


def _rows(plan: Plan, chains: Sequence[Chain], names: dict[Ref, str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    sinks = {sink.id: sink for sink in plan.sinks}
    for chain in chains:
        own = [_node(plan.node(address), names) for address in chain.nodes] + [_sink(sinks[number], names) for number in chain.sinks]
        if chain.stream is not None:
            own.insert(0, (f"decode {chain.stream}", "", str(plan.stream(chain.stream).spec)))
        rows += [(f"chain {chain.id}" if place == 0 else "", *row) for place, row in enumerate(own)]
    return rows


def _node(node: Node, names: dict[Ref, str]) -> tuple[str, ...]:
    shared = f" (+ {', '.join(node.names[1:])})" if len(node.names) > 1 else ""
    engine = f" on {node.engine}" if node.engine else ""
    reads = ", ".join(names[ref] for _, ref in node.inputs)
    return f"{node.names[0]}{shared}{engine}", reads, ", ".join(str(spec) for _, spec in node.outputs)


def engines(plan: Plan) -> list[tuple[str, str, str]]:
    """Each model with its engine and the reason, once."""
    nodes = [(node, plan.model(node)) for node in plan.nodes if node.engine]
    rows = [(f"{model.name} {model.version}" if model else node.op, str(node.engine), node.why) for node, model in nodes]
    return list(dict.fromkeys(rows))


def goals(plan: Plan) -> dict[str, str]:
    """Of each output (`business.output`) with goals, what they are: `10 a second, 150 ms`."""
    wanted: dict[str, list[str]] = {}
    for unit, figures in (("a second", plan.rates), ("ms", plan.latency_ms)):
        for output, figure in figures.items():
            wanted.setdefault(output, []).append(f"{figure:g} {unit}")
    return {output: ", ".join(said) for output, said in wanted.items()}


def target(sink: Sink) -> str:
    """Where an output goes, in words."""
    return {"-": "standard output", "results:": "the Python program"}.get(sink.target, sink.target)


def _sink(sink: Sink, names: dict[Ref, str]) -> tuple[str, ...]:
    return f"{sink.business}.{sink.output} → {target(sink)}", names[sink.value], ""


def _memory(plan: Plan, names: dict[Ref, str]) -> list[str]:
    replicas = {chain: lane.replicas for lane in plan.lanes for chain in lane.chains}
    rows = []
    for pool in plan.pools:
        copies = f" x {replicas[pool.chain]} workers" if replicas[pool.chain] > 1 else ""
        total = pool.slots * pool.slot_bytes * replicas[pool.chain]
        rows.append((names[pool.ref], f"{pool.slots} slots of {pool.slot_bytes} bytes{copies}", size(total)))
    rows.append(("shared memory", f"{plan.shared_memory_bytes} bytes", size(plan.shared_memory_bytes)))
    rows.append(("workers and models", f"about {plan.ram_bytes} bytes", size(plan.ram_bytes)))
    return table(("", "", ""), rows)[1:]


def _count(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"
