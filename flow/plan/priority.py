"""Who keeps its rate when the device is short: lanes that work for less important businesses step back for the others."""

from __future__ import annotations

from flow.plan.value import Lane, Plan

POINTS_A_STEP = 5
"""Points of priority to a step of niceness, which is a quarter more or less of a core that two processes share (sched(7))."""
MOST = 19


def niceness(plan: Plan, lane: Lane) -> int:
    """How far a lane's processes step back (0: not at all, 19: as far as there is): by the most important of its businesses, set beside
    the most important of the plan; a shadow as far as there is. Threads of one process cannot step back for each other: 0 there.
    """
    if lane.shadow and plan.workers == "processes":
        return MOST
    if plan.workers == "threads" or len(set(plan.priorities.values())) < 2:
        return 0
    chains = [chain for chain in plan.chains if chain.id in lane.chains]
    nodes = {address for chain in chains for address in chain.nodes}
    sinks = {sink for chain in chains for sink in chain.sinks}
    streams = {chain.stream for chain in chains if chain.stream is not None}
    businesses = {name for node in plan.nodes if node.address in nodes or streams.intersection(node.streams) for name in node.businesses}
    businesses |= {sink.business for sink in plan.sinks if sink.id in sinks or streams.intersection(sink.streams)}
    highest = max(plan.priorities.values())
    own = max((plan.priorities.get(name, highest) for name in businesses), default=highest)
    return min(MOST, (highest - own) // POINTS_A_STEP)
