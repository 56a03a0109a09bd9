"""Graph -> program: a flat list of steps over one arena, one block of constants, and the caller's own inputs and outputs.

A step is an operator (its code and immutable parameters) and where its operands lie. Views are no steps but other readings of the same
bytes. The memory plan is made for one item; with an open batch all offsets grow with the batch, so that one plan serves any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from devices.native.arrays import aligned, aligned_bytes, row_bytes, viewed
from devices.native.ir import Graph, Node, Op, Type
from devices.native.memory import MemoryPlan, plan
from devices.native.operators import View
from devices.native.passes.batch import rebatched
from devices.native.storage import Region, Storage


@dataclass(frozen=True, slots=True)
class Operand:
    """A value's place: `at` is a byte offset into the arena or the constants, or the number of the caller's input or output. Rows (along
    the last axis) lie `stride` elements apart; the module `rows` says which are padded."""

    region: Region
    at: int
    type: Type
    stride: int

    @property
    def nbytes(self) -> int:
        return row_bytes(self.type, self.stride)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation. A `View` that is a step copies. The output may lie over an input that the operator names in `in_place`."""

    op: Op
    inputs: tuple[Operand, ...]
    output: Operand
    origin: str = ""

    @property
    def code(self) -> str:
        return type(self.op).__name__


@dataclass(frozen=True, slots=True)
class Program:
    """What an executor runs. `constants` are read-only bytes, `memory` the plan for one item."""

    steps: tuple[Step, ...]
    inputs: tuple[tuple[str, Type], ...]
    outputs: tuple[tuple[str, Type], ...]
    constants: np.ndarray
    memory: MemoryPlan
    arena_bytes: int
    graph: Graph = field(repr=False)
    homes: Mapping[str, tuple[Region, int, int]] = field(repr=False)

    @property
    def batch(self) -> bool:
        """Whether it runs for any number of items."""
        return bool(self.graph.batch)

    @property
    def digest(self) -> str:
        """sha256 (hex) of steps, places and constants."""
        total = hashlib.sha256(self.constants.tobytes())
        for step in self.steps:
            total.update(repr((step.op, step.inputs, step.output)).encode())
        return total.hexdigest()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The node of each step."""
        return tuple(node for node in self.graph.nodes if _is_step(node, self.homes))

    def at(self, batch: int) -> Program:
        """The program for this many items (of one with an open batch). Raises GraphError where they need more memory than a value may."""
        return self if batch == 1 else _assemble(rebatched(self.graph, batch), self.homes, self.constants, self.memory, batch)


def lower(graph: Graph) -> Program:
    """Raises GraphError for a graph that needs more memory than `memory.MAX_ARENA`."""
    storage = Storage(graph)
    memory = plan(storage.buffers())
    constants, offsets = _block(storage.graph)
    offsets |= memory.offsets
    homes = {name: (*storage.home(name, offsets), storage.strides[name]) for name in storage.graph.types}
    arrays = {name: viewed(constants, offsets[name], graph.types[name]) for name in graph.constants}
    return _assemble(replace(storage.graph, constants=arrays), homes, constants, memory, 1)


def _block(graph: Graph) -> tuple[np.ndarray, dict[str, int]]:
    """All constants one after another, and where each begins."""
    offsets: dict[str, int] = {}
    end = 0
    for name, array in graph.constants.items():
        offsets[name] = end
        end += aligned(array.nbytes)
    block = aligned_bytes(end)
    for name, offset in offsets.items():
        viewed(block, offset, graph.types[name])[...] = graph.constants[name]
    block.flags.writeable = False
    return block, offsets


def _is_step(node: Node, homes: Mapping[str, tuple[Region, int, int]]) -> bool:
    """A view of the same bytes is none."""
    return homes[node.output][:2] != homes[node.inputs[0]][:2] or not isinstance(node.op, View)


def _assemble(graph: Graph, homes: Mapping[str, tuple[Region, int, int]], constants: np.ndarray, memory: MemoryPlan, batch: int) -> Program:
    def operand(name: str) -> Operand:
        region, at, stride = homes[name]
        told = graph.types[name]
        # The one row of a value with one axis is as long as the batch makes it.
        return Operand(region, at * batch if region == "arena" else at, told, stride if told.rank != 1 else told.shape[0])

    steps = tuple(
        Step(node.op, tuple(map(operand, node.inputs)), operand(node.output), node.origin) for node in graph.nodes if _is_step(node, homes)
    )
    return Program(
        steps, tuple((name, graph.types[name]) for name in graph.inputs),
        tuple((public, graph.types[name]) for public, name in graph.outputs),
        constants, memory, memory.nbytes * batch, graph, homes,
    )  # fmt: skip
