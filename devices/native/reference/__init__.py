"""The reference interpreter: what every operator computes, in plain NumPy. Passes and kernels are checked against it.

Floats are computed in float32, or with `wide` in float64 from the float32 constants on (an oracle for tolerances). Quantized operators
follow ONNX Runtime's exact mode bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from devices.native import operators as ops
from devices.native.ir import Graph, Node, Op, Type
from devices.native.reference import elementwise, matrix, movement, quantized, reduction, spatial

__all__ = ["FUNCTIONS", "evaluate", "run"]

FUNCTIONS: Mapping[type[Op], Callable[..., np.ndarray]] = {
    ops.Unary: elementwise.unary,
    ops.Binary: elementwise.binary,
    ops.Where: elementwise.where,
    ops.Cast: elementwise.cast,
    ops.Conv: spatial.conv,
    ops.ConvTranspose: spatial.conv_transpose,
    ops.MaxPool: spatial.max_pool,
    ops.AveragePool: spatial.average_pool,
    ops.Resize: spatial.resize,
    ops.Dense: matrix.dense,
    ops.MatMul: matrix.matmul,
    ops.View: movement.view,
    ops.Transpose: movement.transpose,
    ops.Concat: movement.concat,
    ops.Slice: movement.cut,
    ops.Pad: movement.pad,
    ops.Gather: movement.gather,
    ops.Broadcast: movement.broadcast,
    ops.Tile: movement.tile,
    ops.Reduce: reduction.reduce,
    ops.Arg: reduction.arg,
    ops.Softmax: reduction.softmax,
    ops.LayerNorm: reduction.layer_norm,
    ops.Quantize: quantized.quantize,
    ops.Dequantize: quantized.dequantize,
    ops.FlipSign: quantized.flip_sign,
    ops.QConv: quantized.q_conv,
    ops.QDense: quantized.q_dense,
    ops.RealConv: quantized.real_conv,
    ops.RealDense: quantized.real_dense,
    ops.IntegerConv: quantized.integer_conv,
    ops.IntegerDense: quantized.integer_dense,
    ops.QAdd: quantized.q_add,
    ops.QMul: quantized.q_mul,
    ops.QMean: quantized.q_mean,
    ops.QAveragePool: quantized.q_average_pool,
    ops.Table: quantized.table,
}


def evaluate(op: Op, types: Sequence[Type], out: Type, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One operator over arrays of these types. The result may share memory with an input."""
    function: Callable[..., Any] = FUNCTIONS[type(op)]
    with np.errstate(all="ignore"):
        return np.asarray(function(op, types, out, *arrays))


def run(
    graph: Graph, inputs: Mapping[str, np.ndarray], *, wide: bool = False, watch: Callable[[Node, np.ndarray], None] | None = None
) -> dict[str, np.ndarray]:
    """Outputs by public name. `watch` is shown every node's result."""

    def held(array: np.ndarray) -> np.ndarray:
        # Sums depend on the order in memory: what is kept lies as an executor has it.
        return np.asarray(array, np.float64 if wide and array.dtype == np.float32 else None, order="C")

    values = {name: held(array) for name, array in (*graph.constants.items(), *((name, inputs[name]) for name in graph.inputs))}
    uses = graph.uses()
    left = {name: len(readers) for name, readers in uses.items()}
    for _, value in graph.outputs:
        left[value] += 1
    for node in graph.nodes:
        result = evaluate(
            node.op, [graph.types[name] for name in node.inputs], graph.types[node.output], [values[name] for name in node.inputs]
        )
        values[node.output] = held(result)
        if watch is not None:
            watch(node, result)
        for name in node.inputs:
            left[name] -= 1
            if not left[name]:
                values.pop(name, None)
    return {public: np.asarray(values[name], graph.types[name].dtype) for public, name in graph.outputs}
