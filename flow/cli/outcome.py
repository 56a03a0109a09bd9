"""Whether a run that came to its end did what it was for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flow.cli.figures import count, outputs

if TYPE_CHECKING:
    from flow.plan.value import Node, Plan, Sink


def fruitless(plan: Plan, report: Mapping[str, Any]) -> list[str]:
    """A line for each output that has no result at all because operators before it failed."""
    said = []
    for name, figures in outputs(report):
        if figures["results"]:
            continue
        sinks = [sink for sink in plan.sinks if f"{sink.business}.{sink.output}" == name]
        places = dict.fromkeys(node.address for sink in sinks for node in _before(plan, sink))
        failed = [why for address in places if (why := _failure(report, address))]
        if failed:
            said.append(f"{name}: expected results, got none: {'; '.join(failed)}")
    return said


def _before(plan: Plan, sink: Sink) -> Iterator[Node]:
    """The nodes that a sink's value comes from, the first ones last."""
    nodes = {node.address: node for node in plan.nodes}
    front = [sink.value.address]
    seen: set[str] = set()
    while front:
        node = nodes.get(front.pop())
        if node is not None and node.address not in seen:
            seen.add(node.address)
            front += [ref.address for _, ref in node.inputs]
            yield node


def _failure(report: Mapping[str, Any], address: str) -> str:
    """How often a node failed, in words; empty where it did not."""
    node = report["nodes"][address]
    name = ", ".join(node["names"])
    set_aside = sum(address == each["address"] for each in report["poison"])
    if set_aside:
        return f"{name} ended its worker on {count(set_aside, 'frame')}"
    if node["errors"]:
        return f"{name} failed on {'every frame' if not node['runs'] else count(node['errors'], 'frame')}"
    return ""
