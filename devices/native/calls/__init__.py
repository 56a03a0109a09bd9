"""Which compiled kernels do a step, and with what words. A step that none does is left to the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.native import operators as ops
from devices.native.calls import choices, convolution, elementwise, matrix, moves, rowwise, windows
from devices.native.calls.call import Call, Context, Maker, Part
from devices.native.ir import Op
from devices.native.kernels.layout import PICTURE, pieces
from devices.native.lower import Step

__all__ = ["Call", "Context", "Part", "calls"]

MAKERS: Mapping[type[Op], Maker] = {
    ops.Unary: elementwise.unary,
    ops.Binary: elementwise.binary,
    ops.Where: choices.where,
    ops.QAdd: elementwise.q_add,
    ops.QMul: elementwise.q_mul,
    ops.Table: elementwise.table,
    ops.Quantize: elementwise.quantize,
    ops.Dequantize: elementwise.dequantize,
    ops.QConv: convolution.q_conv,
    ops.QDense: convolution.q_dense,
    ops.RealConv: convolution.real_conv,
    ops.RealDense: convolution.real_dense,
    ops.Conv: convolution.conv,
    ops.Dense: convolution.dense,
    ops.MaxPool: windows.max_pool,
    ops.AveragePool: windows.average_pool,
    ops.Reduce: windows.reduce,
    ops.QMean: windows.q_mean,
    ops.Resize: windows.resize,
    ops.Pad: windows.pad,
    ops.Transpose: moves.transpose,
    ops.View: moves.view,
    ops.Concat: moves.concat,
    ops.Slice: moves.cut,
    ops.Gather: moves.gather,
    ops.Broadcast: moves.broadcast,
    ops.Softmax: rowwise.softmax,
    ops.LayerNorm: rowwise.layer_norm,
    ops.Arg: rowwise.arg,
    ops.MatMul: matrix.matmul,
    ops.ConvTranspose: convolution.conv_transpose,
}


def calls(context: Context, steps: Sequence[Step]) -> list[list[Call] | None]:
    """The calls of each step, or None. A picture that is quantized and then put in order takes one call, and none for the second step."""
    found: list[list[Call] | None] = []
    for index, step in enumerate(steps):
        if index and (fused := _picture(steps, index)) is not None:
            found[-1] = []
            found.append(fused)
            continue
        maker = MAKERS.get(type(step.op))
        found.append(None if maker is None else maker(context, step))
    return found


def _picture(steps: Sequence[Step], index: int) -> list[Call] | None:
    """One call for a quantize and the change of order after it, where nothing else reads what lies between."""
    first, second = steps[index - 1], steps[index]
    if not isinstance(first.op, ops.Quantize) or second.op != ops.Transpose((0, 2, 3, 1), "nhwc") or second.inputs[0] != first.output:
        return None
    x, out, given = first.inputs[0], second.output, first.op.out
    alone = not any(first.output in step.inputs for step in steps[index + 1 :])
    if not alone or out.stride != PICTURE or first.output.region != "arena" or x.stride != x.type.shape[-1] or given.axis is not None:
        return None
    count = x.type.shape[2] * x.type.shape[3]
    numbers = {"channels": x.type.shape[1], "pixels": count, "scale": float(given.scale), "zero": given.zero, "low": 0, "high": 255}
    return [Call("quantize_picture", x.type.shape[0] * pieces(count), {"x": Part(x), "out": Part(out), **numbers})]
