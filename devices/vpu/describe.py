"""What the compiler made of a model for the declared machine, to be read and drawn: layers, their instructions, work and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devices.native.operators import View
from devices.vpu.border import inner
from devices.vpu.compiler import compile_model, quantized_graph
from devices.vpu.instructions import Instruction, work
from devices.vpu.machine import Machine


@dataclass(frozen=True, slots=True)
class LayerSeen:
    """A layer: values it reads and gives with their types, instructions by kind, multiplications, bytes moved, and ns at the declared
    speed. `origin` is the model file's node that it came from."""

    op: str
    origin: str
    reads: tuple[str, ...]
    gives: Mapping[str, str]
    instructions: Mapping[str, int]
    macs: int
    moved_bytes: int
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Described:
    """A compiled model; `nanoseconds` is the sum of all layers', for the machine does one thing after another."""

    machine: Machine
    layers: tuple[LayerSeen, ...]
    data_bytes: int
    arena_bytes: int

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def moved_bytes(self) -> int:
        return sum(layer.moved_bytes for layer in self.layers)

    @property
    def nanoseconds(self) -> int:
        return sum(layer.nanoseconds for layer in self.layers)


def describe(path: Path, dims: Mapping[str, int], machine: Machine) -> Described:
    """Compiles the model. Raises EngineError."""
    program = compile_model(path, dims, machine.local_bytes)
    graph = inner(quantized_graph(path, dims)).graph
    nodes = iter([node for node in graph.nodes if not isinstance(node.op, View)])
    seen, at = [], 0
    for layer in program.layers:
        own = program.instructions[at : layer.end]
        at = layer.end
        macs, moved = map(sum, zip(*_work(own), strict=True))
        node = next(nodes, None)
        reads = tuple(name for name in node.inputs if name not in graph.constants) if node else ()
        gives = {node.output: str(graph.types[node.output])} if node else {}
        counted = dict(Counter(type(each).__name__ for each in own).most_common())
        seen.append(LayerSeen(layer.operator, layer.name, reads, gives, counted, macs, moved, machine.nanoseconds(macs, moved)))
    return Described(machine, tuple(seen), program.constants.nbytes, program.arena_bytes)


def _work(instructions: tuple[Instruction, ...]) -> Iterator[tuple[int, int]]:
    yield 0, 0
    yield from map(work, instructions)
