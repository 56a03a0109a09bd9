"""Leaves out what no output needs."""

from __future__ import annotations

from devices.native.ir import Graph
from devices.native.passes.edit import without_dead


def remove_dead(graph: Graph) -> Graph:
    """The graph without nodes and constants that no output needs. Inputs stay: they are the model's signature."""
    return without_dead(graph)
