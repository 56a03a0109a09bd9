"""The report of a run, at any moment, from the workers' blocks: where every frame went and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from devices.registry import emulated
from flow.executor.workers import Worker
from flow.ledger import LATENCY_BUCKETS, quantile_ms
from flow.plan.value import Plan


def totals(workers: Iterable[Worker]) -> Counter[str]:
    """Sum of all workers' counters, each worker at one moment of its own."""
    total: Counter[str] = Counter()
    for worker in workers:
        total.update(worker.block.snapshot())
    return total


def make_report(
    plan: Plan, workers: Iterable[Worker], *, shared_memory_bytes: int, cpu_seconds: float, wall_seconds: float,
    poison: Iterable[Mapping[str, Any]], problems: Iterable[str], retired: Mapping[str, int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The report that `ace run --report` writes. `dropped` is by node (or stream, or edge) and cause.

    `retired`: what workers have counted that are gone since plans changed.
    """
    workers = list(workers)
    count = totals(workers)
    count.update(retired or {})
    report: dict[str, Any] = {
        "plan": plan.digest,
        "streams": {stream.name: _stream(plan, stream.name, count) for stream in plan.streams},
        "nodes": {node.address: _node(node, count) for node in plan.nodes},
        "outputs": _outputs(plan, count),
        "edges": {str(edge.id): _edge(edge.id, count) for edge in plan.edges},
        "state_resets": count["state_resets"],
        "poison": list(poison),
        "workers": [
            {
                "pid": worker.pid,
                "device": worker.device,
                "emulated": emulated(worker.device),
                "restarts": worker.restarts,
                "lane": worker.seat.lane,
                "replica": worker.seat.replica,
            }
            for worker in workers
        ],
        "problems": list(problems),
        "shared_memory_bytes": shared_memory_bytes,
        "cpu_seconds": round(cpu_seconds, 4),
        "wall_seconds": round(wall_seconds, 4),
    }
    return report


def _dropped(prefix: str, count: Counter[str]) -> dict[str, int]:
    start = f"{prefix}.dropped:"
    return {key.removeprefix(start): value for key, value in count.items() if key.startswith(start) and value}


def _stream(plan: Plan, name: str, count: Counter[str]) -> dict[str, Any]:
    """What came, what was passed on, and every drop of its frames by the place where it happened and the cause."""
    stream = plan.stream(name)
    key = f"stream:{name}"
    dropped: dict[str, dict[str, int]] = {}
    if here := _dropped(key, count):
        dropped[name] = here
    for node in plan.nodes:
        if name in node.streams and (here := _dropped(f"node:{node.address}", count)):
            dropped[node.names[0]] = here
    chains = {chain.id: chain for chain in plan.chains}
    for edge in plan.edges:
        if chains[edge.producer].stream == name or _paced_by(plan, edge.producer, stream.name):
            for prefix in (f"edge:{edge.id}", f"taken:{edge.id}"):
                if here := _dropped(prefix, count):
                    place = dropped.setdefault(_edge_name(plan, edge.id), {})
                    for cause, number in here.items():
                        place[cause] = place.get(cause, 0) + number
    return {
        "in": count[f"{key}.in"], "out": count[f"{key}.out"], "in_flight": count[f"{key}.in_flight"], "dropped": dropped,
        **{name: count[f"{key}.{name}"] for name in ("repaired", "reconnects", "corrupt")},
    }  # fmt: skip


def _paced_by(plan: Plan, chain: int, stream: str) -> bool:
    nodes = {node.address: node for node in plan.nodes}
    return any(stream in nodes[address].streams for one in plan.chains if one.id == chain for address in one.nodes)


def _edge_name(plan: Plan, number: int) -> str:
    """`front -> pet.boxes`: first names of both ends."""
    chains = {chain.id: chain for chain in plan.chains}
    nodes = {node.address: node.names[0] for node in plan.nodes}
    sinks = {sink.id: f"{sink.business}.{sink.output}" for sink in plan.sinks}
    edge = next(edge for edge in plan.edges if edge.id == number)
    before, after = chains[edge.producer], chains[edge.consumer]
    source = before.stream if before.stream is not None and not before.nodes else nodes[before.nodes[-1]]
    target = nodes[after.nodes[0]] if after.nodes else sinks[after.sinks[0]]
    return f"{source} -> {target}"


def _node(node: Any, count: Counter[str]) -> dict[str, Any]:
    key = f"node:{node.address}"
    return {
        "op": node.op, "names": list(node.names), "businesses": list(node.businesses), "runs": count[f"{key}.runs"],
        "calls": count[f"{key}.calls"], "errors": count[f"{key}.errors"], "busy_ms": round(count[f"{key}.busy_ns"] / 1e6, 3),
    }  # fmt: skip


def _edge(number: int, count: Counter[str]) -> dict[str, Any]:
    key, taken = f"edge:{number}", f"taken:{number}"
    return {**_balance(key, count), "received": _balance(taken, count)}


def _balance(key: str, count: Counter[str]) -> dict[str, Any]:
    return {**{name: count[f"{key}.{name}"] for name in ("in", "out", "in_flight")}, "dropped": _dropped(key, count)}


def _outputs(plan: Plan, count: Counter[str]) -> dict[str, Any]:
    outputs: dict[str, dict[str, Any]] = {}
    for sink in plan.sinks:
        key = f"sink:{sink.id}"
        business = outputs.setdefault(sink.business, {})
        results = count[f"{key}.results"]
        if sink.output in business and business[sink.output]["results"] >= results:
            continue
        buckets = [count[f"{key}.latency:{bucket}"] for bucket in range(LATENCY_BUCKETS)]
        p50, p99 = quantile_ms(buckets, 0.5), quantile_ms(buckets, 0.99)
        most = count[f"{key}.max_ns"] / 1e6
        latency = {"p50": _ms(p50), "p99": _ms(None if p99 is None else min(p99, most)), "max": _ms(most) if results else None}
        business[sink.output] = {"results": results, "latency_ms": latency}
    return outputs


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
