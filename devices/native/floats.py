"""What of a quantized model runs in float32 all the same, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from devices.engine import EngineError
from devices.native import operators as ops
from devices.native.compiler import load_graph
from devices.native.ir import Graph, GraphError, Op
from devices.native.passes import stages
from devices.native.passes.qdq import fuse_qdq, fused
from devices.native.passes.real import fuse_real

WHOLE = (ops.Quantize, ops.Dequantize, ops.FlipSign, ops.View, ops.RealConv, ops.RealDense)
"""What computes over whole numbers, or only changes the form of numbers."""


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A node of the model file, by its name, that runs in float32 though the model is quantized."""

    op: str
    origin: str
    why: str


def float_layers_of(path: Path, dims: Mapping[str, int]) -> tuple[FloatLayer, ...]:
    """Those of a model file with `dims` put for its open dimensions. Raises EngineError."""
    try:
        return float_layers(stages(load_graph(path, dims)))
    except GraphError as error:
        raise EngineError(f"native: {path}: {error}") from error


def float_layers(seen: Sequence[tuple[str, Graph]]) -> tuple[FloatLayer, ...]:
    """Those of a graph that has gone through the stages of `passes`, in their order; none of a model that nothing in is quantized."""
    before = next(graph for (_, graph), (name, _) in pairwise(seen) if name == fuse_qdq.__name__)
    after, refused = fused(before)
    if not any(told.quantization for told in after.types.values()):
        return ()
    after = fuse_real(after)
    quantized = {node.inputs[0] for node in after.nodes if isinstance(node.op, ops.Quantize)}
    moving, found = set(after.inputs), []
    for node in after.nodes:
        if moving.isdisjoint(node.inputs):
            continue
        moving.add(node.output)
        if after.types[node.output].dtype != "float32" or isinstance(node.op, WHOLE):
            continue
        why = refused.get(node.output) if node.output in quantized else None
        found.append(FloatLayer(_name(node.op), node.origin, why or "its result is not quantized"))
    return tuple(found)


def _name(op: Op) -> str:
    kind = getattr(op, "kind", "")
    return f"{type(op).__name__} {kind}".strip()
