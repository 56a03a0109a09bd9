"""Quantized graph -> program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from devices import onnx_file
from devices.engine import EngineError
from devices.model import declared_inputs
from devices.native.compiler import load_graph
from devices.native.importer import Unsupported
from devices.native.importer import lacks as importer_lacks
from devices.native.ir import Graph, GraphError, Node, Op
from devices.native.memory import Buffer, plan
from devices.native.operators import (
    Broadcast,
    Concat,
    FlipSign,
    MaxPool,
    Pad,
    QAdd,
    QAveragePool,
    QConv,
    QDense,
    QMean,
    QMul,
    Resize,
    Slice,
    Table,
    Tile,
    Transpose,
    View,
)
from devices.native.passes import optimize
from devices.vpu import layers, moves
from devices.vpu.border import Inner, inner, name_of
from devices.vpu.emitter import Emitter, Place, Refusal
from devices.vpu.program import ARENA, Layer, Port, Program, ProgramError, whole_scale
from devices.vpu.strided import copy

OPEN = 64
"""What stands for an open dimension while it is asked which operators are lacking."""

Write = Callable[[Emitter, Node, Graph, tuple[Place, ...], Place], None]


def _moved(move: Callable[..., None]) -> Write:
    def write(e: Emitter, node: Node, graph: Graph, places: tuple[Place, ...], y: Place) -> None:
        move(e, node.op, tuple(graph.types[name] for name in node.inputs), graph.types[node.output], places, y)

    return write


WRITES: Mapping[type[Op], Write] = {
    QConv: layers.conv, QDense: layers.dense, MaxPool: layers.max_pool, QMean: layers.mean, QAveragePool: layers.average_pool,
    QAdd: layers.add, QMul: layers.multiply, Table: layers.table, FlipSign: layers.flip_sign, Transpose: _moved(moves.transpose),
    Concat: _moved(moves.concat), Slice: _moved(moves.cut), Pad: _moved(moves.pad), Broadcast: _moved(moves.broadcast),
    Tile: _moved(moves.tile), Resize: _moved(moves.resize),
}  # fmt: skip


class Refused(GraphError):
    """A model that the machine cannot run; `reasons` name each operator and why."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def compile_model(path: Path, dims: Mapping[str, int], local_bytes: int, digest: str = "") -> Program:
    """The program of a model file with `dims` put for its open dimensions, for one item. Raises EngineError, which names what the machine
    cannot do."""
    try:
        return lower(optimize(load_graph(path, dims, digest)), local_bytes)
    except (GraphError, ProgramError) as error:
        raise EngineError(f"vpu: {path}: it cannot run {error}") from error


def lacks(path: Path, local_bytes: int) -> tuple[str, ...]:
    """What the machine cannot do of a model. Raises EngineError for a file that no engine could load."""
    if missing := importer_lacks(path):
        return missing
    names = {size for _, sizes in declared_inputs(onnx_file.read(path)).values() for size in sizes if isinstance(size, str)}
    try:
        lower(optimize(load_graph(path, dict.fromkeys(names, OPEN))), local_bytes)
    except Refused as error:
        return error.reasons
    except Unsupported as error:
        return (error.what,)
    except (GraphError, ProgramError, EngineError):
        if not names:
            raise
    return ()


def lower(graph: Graph, local_bytes: int) -> Program:
    """The program of an optimized graph. Raises Refused."""
    found = inner(graph)
    reasons = [*found.refused, *(name_of(node) for node in found.graph.nodes if not _known(node))] if not found.refused else found.refused
    if reasons:
        raise Refused(tuple(reasons))
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

    def place(name: str) -> Place:
        return homes.places[name] if name in homes.places else e.constant(graph.constants[name])

    for node in graph.nodes:
        if isinstance(node.op, View):
            continue
        kept = 1 if isinstance(node.op, QConv | QDense | Table) else len(node.inputs)
        y = place(node.output)
        try:
            WRITES[type(node.op)](e, node, graph, tuple(map(place, node.inputs[:kept])), y)
        except Refusal as error:
            reasons.append(f"{name_of(node)}: {error}")
            continue
        size = prod(graph.types[node.output].shape)
        written.append(Layer(node.origin or node.output, type(node.op).__name__, len(e.instructions), y.space, y.address, size))
    for name, target in homes.copies:
        size = prod(graph.types[name].shape)
        copy(e, place(name), target, (size,), (1,), (1,))
        written.append(Layer(name, "Copy", len(e.instructions), target.space, target.address, size))
    if reasons:
        raise Refused(tuple(reasons))
    return written


def _ports(found: Inner) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    graph = found.graph
    inputs = []
    for name, public in zip(graph.inputs, found.inputs, strict=True):
        told = graph.types[name]
        if name == public:
            inputs.append(Port(public, told.dtype, told.shape))
        else:
            assert told.quantization is not None
            inputs.append(Port(public, "float32", told.shape, whole_scale(float(told.quantization.scale)), told.quantization.zero))
    outputs = []
    for (public, name), meant in zip(graph.outputs, found.floats, strict=True):
        told = graph.types[name]
        if meant is None:
            outputs.append(Port(public, told.dtype, told.shape))
        else:
            outputs.append(Port(public, "float32", told.shape, whole_scale(float(meant.scale)), meant.zero))
    return tuple(inputs), tuple(outputs)
