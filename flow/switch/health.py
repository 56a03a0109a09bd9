"""How a run is doing since a moment, from its ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flow.executor import Executor
from flow.ledger import LATENCY_BUCKETS, quantile_ms
from flow.plan.shadow import MARK, SHADOW
from flow.plan.value import Plan, Sink
from flow.said import said_labels


@dataclass
class Since:
    """The moment, and what had been counted until then."""

    at: float = field(default_factory=time.monotonic)
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: int = 0


def now(run: Executor) -> Since:
    """This moment."""
    return Since(time.monotonic(), counts(run), len(run.problems))


def counts(run: Executor) -> Counter[str]:
    """What every output has counted, by `business.output` and counter, and the errors of all operators."""
    plan, total = run.running_plan, run.counters()
    found: Counter[str] = Counter()
    for sink in outputs(plan):
        start = f"sink:{sink.id}."
        for key, value in total.items():
            if key.startswith(start):
                found[f"{sink.business}.{sink.output}|{key.removeprefix(start)}"] += value
    found["|restarts"], found["|poison"] = total["restarts"], total["poison"]
    found["|errors"] = sum(value for key, value in total.items() if _is_error(key))
    return found


def _is_error(key: str) -> bool:
    return key.startswith("node:") and key.endswith(".errors") and not key.startswith(f"node:{MARK}")


def outputs(plan: Plan) -> list[Sink]:
    """What goes somewhere: not what is only tried out."""
    return [sink for sink in plan.sinks if sink.target != SHADOW]


def measured(run: Executor, since: Since) -> dict[str, Any]:
    """Results, rates, latencies and labels of every output since then, and what went wrong."""
    spent = max(1e-9, time.monotonic() - since.at)
    found = counts(run)
    found.subtract(since.counts)
    results: dict[str, int] = {}
    rates: dict[str, float] = {}
    latency: dict[str, dict[str, float]] = {}
    said: dict[str, dict[str, int]] = {}
    for sink in outputs(run.running_plan):
        name = f"{sink.business}.{sink.output}"
        results[name] = found[f"{name}|results"]
        rates[name] = results[name] / spent
        buckets = [found[f"{name}|latency:{bucket}"] for bucket in range(LATENCY_BUCKETS)]
        latency[name] = {key: value for key, share in (("p50", 0.5), ("p99", 0.99)) if (value := quantile_ms(buckets, share)) is not None}
        said[name] = {label: count for place, label in enumerate(said_labels(sink.spec)) if (count := found[f"{name}|said:{place}"])}
        if found[f"{name}|nothing"]:
            said[name][""] = found[f"{name}|nothing"]
    return {
        "uptime_s": spent, "results": results, "rates": rates, "latency_ms": latency, "outputs": said, "errors": found["|errors"],
        "restarts": found["|restarts"], "poison": found["|poison"], "rss_bytes": run.memory_bytes(),
        "problems": tuple(run.problems[since.problems :]),
    }  # fmt: skip
