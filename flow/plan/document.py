"""A plan as a document for programs: what `ace plan --format json` prints."""

from __future__ import annotations

from typing import Any

from flow.plan.priority import niceness
from flow.plan.value import Node, Plan, Ref


def document(plan: Plan) -> dict[str, Any]:
    """Plain JSON values. Stable keys: `plan`, `nodes[].{address,op,businesses,device,engine,model,inputs,outputs}`,
    `shared_memory_bytes`, `ram_bytes`; the others may grow."""
    return {
        "plan": plan.digest,
        "workers": plan.workers,
        "link": plan.link,
        "streams": [
            {
                "name": stream.name,
                "address": stream.address,
                "source": stream.source,
                "picture": str(stream.spec),
                "fps": stream.fps,
                "live": stream.live,
                "overload": stream.policy,
                "every": stream.every,
                "queue": stream.queue,
                "secret": stream.secret,
            }
            for stream in plan.streams
        ],
        "nodes": [_node(plan, node) for node in plan.nodes],
        "sinks": [
            {
                "business": sink.business,
                "version": sink.version,
                "output": sink.output,
                "target": sink.target,
                "value": _ref(sink.value),
                "spec": str(sink.spec),
                "streams": list(sink.streams),
                "where": sink.where,
            }
            for sink in plan.sinks
        ],
        "models": [
            {"name": model.name, "version": model.version, "digest": model.digest, "file": model.path.name} for model in plan.models
        ],
        "chains": [
            {"id": chain.id, "stream": chain.stream, "nodes": list(chain.nodes), "sinks": list(chain.sinks)} for chain in plan.chains
        ],
        "lanes": [
            {
                "id": lane.id,
                "name": lane.name,
                "device": lane.device,
                "threads": lane.threads,
                "replicas": lane.replicas,
                "nice": niceness(plan, lane),
                "batches": [{"chains": list(batch.chains), "most": batch.most, "delay_ms": batch.delay_ms} for batch in lane.batches],
                "chains": list(lane.chains),
            }
            for lane in plan.lanes
        ],
        "edges": [
            {
                "id": edge.id,
                "producer": edge.producer,
                "consumer": edge.consumer,
                "values": [_ref(ref) for ref in edge.refs],
                "capacity": edge.capacity,
                "payload_bytes": edge.payload,
                "policy": edge.policy,
                "together": edge.together,
            }
            for edge in plan.edges
        ],
        "pools": [
            {"chain": pool.chain, "value": _ref(pool.ref), "slots": pool.slots, "slot_bytes": pool.slot_bytes} for pool in plan.pools
        ],
        "changes": list(plan.changes),
        "latency_ms": dict(plan.latency_ms),
        "rates": dict(plan.rates),
        "frames_in_flight": dict(plan.frames_in_flight),
        "shared_memory_bytes": plan.shared_memory_bytes,
        "ram_bytes": plan.ram_bytes,
    }


def _node(plan: Plan, node: Node) -> dict[str, Any]:
    model = plan.model(node)
    return {
        "address": node.address,
        "op": node.op,
        "kind": node.kind,
        "names": list(node.names),
        "businesses": list(node.businesses),
        "where": list(node.where),
        "streams": list(node.streams),
        "device": node.device,
        "engine": node.engine,
        "why": node.why,
        "model": f"{model.name}@{model.version}" if model is not None else None,
        "config": dict(node.config),
        "inputs": {port: _ref(ref) for port, ref in node.inputs},
        "outputs": {port: str(spec) for port, spec in node.outputs},
        "lifted": list(node.lifted),
        "on_error": node.on_error,
        "deadline_ms": node.deadline_ms,
    }


def _ref(ref: Ref) -> str:
    return f"{ref.address}.{ref.port}"
