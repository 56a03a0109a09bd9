"""Quantized graph -> program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from devices import onnx_file
from devices.engine import EngineError
from devices.model import declared_inputs
from devices.native.compiler import load_graph
from devices.native.importer import Unsupported
from devices.native.importer import lacks as importer_lacks
from devices.native.ir import Graph, GraphError, Node, Op, Quantization, Type
from devices.native.memory import Buffer, plan
from devices.native.operators import View
from devices.native.passes import optimize
from devices.native.passes.batch import rebatched
from devices.vpu.border import Inner, Reason, inner, reason, told
from devices.vpu.emitter import Emitter, Place, Refusal, Step
from devices.vpu.layers import LAYERS
from devices.vpu.moves import MOVES
from devices.vpu.program import ARENA, Layer, Port, Program, ProgramError, whole_scale
from devices.vpu.strided import copy

OPEN = 64
"""What stands for an open dimension (1 for the first of an input) while it is asked which operators are lacking."""

WRITES: Mapping[type[Op], Callable[[Emitter, Step], None]] = {**LAYERS, **MOVES}


LEAST_LOCAL = 320
"""Bytes of local memory that every program needs: a table of 256 entries with what it reads and gives."""
NOWHERE = Place(-1, 0)


class Refused(GraphError):
    """A model that the machine cannot run; `reasons` name each operator and why."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        self.reasons = told(reasons)
        super().__init__("; ".join(self.reasons))


def compile_model(path: Path, dims: Mapping[str, int], local_bytes: int, digest: str = "") -> Program:
    """The program of a model file with `dims` put for its open dimensions, for a machine with so much local memory. Raises
    EngineError, which names what the machine cannot do."""
    try:
        return lower(quantized_graph(path, dims, digest), local_bytes)
    except (GraphError, ProgramError) as error:
        raise EngineError(f"vpu: {path}: it cannot run {error}") from error


def quantized_graph(path: Path, dims: Mapping[str, int], digest: str = "") -> Graph:
    """The optimized graph of a model file, one with an open batch for as many items as `dims` say. Raises EngineError, GraphError."""
    graph = optimize(load_graph(path, dims, digest))
    items = max((dims.get(name, 1) for place, name in _open_dims(path) if place == 0), default=1)
    return rebatched(graph, items) if graph.batch and items != 1 else graph


def _open_dims(path: Path) -> list[tuple[int, str]]:
    """The axis and the name of each open dimension of the inputs."""
    declared = declared_inputs(onnx_file.read(path)).values()
    return [(axis, size) for _, sizes in declared for axis, size in enumerate(sizes) if isinstance(size, str)]


def lacks(path: Path, local_bytes: int) -> tuple[str, ...]:
    """What the machine cannot do of a model. Raises EngineError for a file that no engine could load."""
    if missing := importer_lacks(path):
        return missing
    names = {size: 1 if place == 0 else OPEN for place, size in _open_dims(path)}
    try:
        lower(optimize(load_graph(path, names)), local_bytes)
    except Refused as error:
        return error.reasons
    except Unsupported as error:
        return (error.what,)
    except EngineError:
        if not names:
            raise
    except (GraphError, ProgramError) as error:
        if not names:
            raise EngineError(f"vpu: {path}: it cannot run {error}") from error
    return ()


def lower(graph: Graph, local_bytes: int) -> Program:
    """The program of an optimized graph. Raises Refused, and GraphError for a local memory that is too small for any."""
    if local_bytes < LEAST_LOCAL:
        raise GraphError(f"with a local memory of {local_bytes} bytes: expected at least {LEAST_LOCAL}")
    found = inner(graph)
    if reasons := found.refused or tuple(reason(node, "is no operator of the machine") for node in found.graph.nodes if not _known(node)):
        raise Refused(reasons)
    homes = _homes(found.graph)
    emitter = Emitter(local_bytes)
    written = _write(emitter, found.graph, homes)
    inputs, outputs = _ports(found)
    arena = homes.arena_bytes
    return Program(local_bytes, inputs, outputs, tuple(written), tuple(emitter.instructions), emitter.constants, arena)


def _known(node: Node) -> bool:
    return isinstance(node.op, View) or type(node.op) in WRITES


@dataclass(frozen=True, slots=True)
class _Homes:
    """Where each value lies; `copies` are outputs that another value's bytes are copied to."""

    places: Mapping[str, Place]
    copies: tuple[tuple[str, Place], ...]
    arena_bytes: int


def _homes(graph: Graph) -> _Homes:
    root = {name: name for name in (*graph.inputs, *graph.constants)}
    for node in graph.nodes:
        root[node.output] = root[node.inputs[0]] if isinstance(node.op, View) else node.output
        if root[node.output] in graph.constants:
            raise Refused([reason(node, "of a constant")])
    places = {name: Place(2 + number, 0) for number, name in enumerate(graph.inputs)}
    copies = []
    for number, (_, name) in enumerate(graph.outputs):
        space = Place(2 + len(graph.inputs) + number, 0)
        if root[name] in places or root[name] in graph.constants:
            copies.append((name, space))
        else:
            places[root[name]] = space
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, node in enumerate(graph.nodes):
        first.setdefault(root[node.output], step)
        for name in (*node.inputs, node.output):
            last[root[name]] = step
    for name, _ in copies:
        last[root[name]] = len(graph.nodes)
    memory = plan([
        Buffer(name, prod(graph.types[name].shape), step, last[name])
        for name, step in first.items() if name not in places and name not in graph.constants and name in last
    ])  # fmt: skip
    places |= {name: Place(ARENA, at) for name, at in memory.offsets.items()}
    return _Homes({name: places[own] for name, own in root.items() if own in places}, tuple(copies), memory.nbytes)


def _write(e: Emitter, graph: Graph, homes: _Homes) -> list[Layer]:
    written, reasons = [], []
    for node in graph.nodes:
        if isinstance(node.op, View):
            continue
        out, y = graph.types[node.output], homes.places[node.output]
        try:
            WRITES[type(node.op)](e, _step(e, graph, node, homes))
        except Refusal as error:
            reasons.append(reason(node, f"({error})"))
            continue
        written.append(Layer(node.origin or node.output, type(node.op).__name__, len(e.instructions), y.space, y.address, prod(out.shape)))
    for name, target in homes.copies:
        size = prod(graph.types[name].shape)
        source = homes.places[name] if name in homes.places else e.constant(graph.constants[name])
        copy(e, source, target, (size,), (1,), (1,))
        written.append(Layer(name, "Copy", len(e.instructions), target.space, target.address, size))
    if reasons:
        raise Refused(reasons)
    return written


def _step(e: Emitter, graph: Graph, node: Node, homes: _Homes) -> Step:
    """Constants that are values like any other (one of a sum's two) are given a place; weights have their own way there."""
    constants = tuple(graph.constants.get(name) for name in node.inputs)
    places = tuple(
        homes.places[name] if name in homes.places else e.constant(graph.constants[name]) if graph.types[name].dtype == "uint8" else NOWHERE
        for name in node.inputs
    )
    types = tuple(graph.types[name] for name in node.inputs)
    return Step(node.op, types, graph.types[node.output], places, homes.places[node.output], constants)


def _ports(found: Inner) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    graph = found.graph
    inputs = [
        _port(public, graph.types[name], None if name == public else graph.types[name].quantization)
        for name, public in zip(graph.inputs, found.inputs, strict=True)
    ]
    outputs = [_port(public, graph.types[name], meant) for (public, name), meant in zip(graph.outputs, found.floats, strict=True)]
    return tuple(inputs), tuple(outputs)


def _port(public: str, given: Type, meant: Quantization | None) -> Port:
    """With a quantization the caller's values are floats."""
    if not prod(given.shape):
        raise Refused([Reason("value", public, f"has no elements: {given}")])
    if meant is None:
        return Port(public, given.dtype, given.shape)
    return Port(public, "float32", given.shape, whole_scale(float(meant.scale)), meant.zero, given.dtype)
