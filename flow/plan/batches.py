"""Which frames of different streams are computed together: chains of one lane that hold equal nodes which can do that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from devices.spec import Spec
from flow.plan.canonical import digest
from flow.plan.chains import Layout
from flow.plan.value import Batch, Chain, Node, Ref

Specs = Mapping[Ref, Spec]


def batched(layout: Layout, nodes: Sequence[Node], specs: Specs) -> Layout:
    """The layout with the batches of its lanes."""
    chains = {chain.id: chain for chain in layout.chains}
    keys = {node.address: _key(node, specs) for node in nodes if node.batch is not None}
    if not keys:
        return layout
    by_address = {node.address: node for node in nodes}
    lanes = (replace(lane, batches=_batches([chains[number] for number in lane.chains], keys, by_address)) for lane in layout.lanes)
    return replace(layout, lanes=tuple(lanes))


def _batches(chains: Sequence[Chain], keys: Mapping[str, str], nodes: Mapping[str, Node]) -> tuple[Batch, ...]:
    """Chains by the first node in them that can be batched. One that begins at a source is left out: it has its own pace."""
    together: dict[str, list[Chain]] = {}
    for chain in chains:
        key = next((keys[address] for address in chain.nodes if address in keys), None)
        if key is not None and chain.stream is None:
            together.setdefault(key, []).append(chain)
    return tuple(_batch(found, keys, nodes) for found in together.values() if len(found) > 1)


def _batch(chains: Sequence[Chain], keys: Mapping[str, str], nodes: Mapping[str, Node]) -> Batch:
    equal: dict[str, list[str]] = {}
    for chain in chains:
        for address in chain.nodes:
            if address in keys:
                equal.setdefault(keys[address], []).append(address)
    groups = tuple(tuple(addresses) for addresses in equal.values() if len(addresses) > 1)
    wanted = [batch for group in groups if (batch := nodes[group[0]].batch) is not None]
    most = min(len(chains), max(batch.most for batch in wanted))
    return Batch(tuple(chain.id for chain in chains), groups, most, min(batch.delay_ms for batch in wanted))


def _key(node: Node, specs: Specs) -> str:
    """What equal nodes have in common: all that decides their results but the stream."""
    inputs = {port: str(specs[ref]) for port, ref in node.inputs}
    return digest("batch", node.op, dict(node.config), node.model, node.manifest, node.engine, node.device, inputs)
