"""What the compiler made of a model, to be read and drawn: steps, kernels, fusions, memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from devices.engine import EngineError
from devices.native.arrays import viewed
from devices.native.assemble import assembled
from devices.native.calls import Context, calls
from devices.native.compiler import load_graph
from devices.native.floats import FloatLayer, float_layers
from devices.native.ir import GraphError
from devices.native.isa import IsaError, best
from devices.native.lower import lower
from devices.native.memory import Buffer
from devices.native.passes import stages
from devices.native.storage import Storage


@dataclass(frozen=True, slots=True)
class StepSeen:
    """A step of the program. `kernels` is None where the reference does it, empty where the step before does it too. `reads` and `gives`
    are values with their types, `origin` is the model file's node that it came from."""

    op: str
    kernels: tuple[str, ...] | None
    reads: tuple[str, ...]
    gives: Mapping[str, str]
    origin: str


@dataclass(frozen=True, slots=True)
class PassSeen:
    """A pass that changed the number of nodes."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled model. `buffers` are the values of the arena with the steps between which they live, `offsets` where they lie there; at
    least `bound_bytes` of its `arena_bytes` are alive at once. `data_bytes`: packed weights and tables for all batch sizes. `floats`: what
    of a quantized model runs in float32."""

    isa: str
    steps: tuple[StepSeen, ...]
    passes: tuple[PassSeen, ...]
    buffers: tuple[Buffer, ...]
    offsets: Mapping[str, int]
    arena_bytes: int
    bound_bytes: int
    data_bytes: int
    batches: tuple[int, ...]
    floats: tuple[FloatLayer, ...]


def describe(path: Path, dims: Mapping[str, int]) -> Compiled:
    """Compiles the model for this machine. Raises EngineError."""
    try:
        seen = stages(load_graph(path, dims))
        graph, target = seen[-1][1], best()
        program = lower(graph)
        image = assembled(program, target)
    except (GraphError, IsaError) as error:
        raise EngineError(f"native: {path}: {error}") from error
    made = calls(Context(target, lambda operand: viewed(program.constants, operand.at, operand.type)), program.steps)
    storage = Storage(graph)
    types, constants = program.graph.types, program.graph.constants
    return Compiled(
        target.name,
        tuple(
            StepSeen(
                step.code, None if found is None else tuple(dict.fromkeys(call.kernel for call in found)),
                tuple(name for name in node.inputs if name not in constants), {node.output: str(types[node.output])}, step.origin,
            )
            for step, found, node in zip(program.steps, made, program.nodes, strict=True)
        ),
        tuple(
            PassSeen(name, len(before.nodes), len(after.nodes))
            for (_, before), (name, after) in pairwise(seen)
            if len(before.nodes) != len(after.nodes)
        ),
        tuple(storage.buffers()), program.memory.offsets, program.memory.nbytes, program.memory.bound, image.nbytes,
        tuple(image.variants),
        float_layers(seen),
    )  # fmt: skip
