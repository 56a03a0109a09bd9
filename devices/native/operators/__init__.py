"""The operators of the intermediate representation: what each computes, its parameters, and the type of its output."""

from devices.native.operators.elementwise import Binary, Cast, Unary, Where
from devices.native.operators.matrix import Dense, MatMul
from devices.native.operators.movement import Broadcast, Concat, Gather, Pad, Slice, Tile, Transpose, View
from devices.native.operators.quantized import (
    Dequantize,
    FlipSign,
    IntegerConv,
    IntegerDense,
    QAdd,
    QAveragePool,
    QConv,
    QDense,
    QMean,
    QMul,
    Quantize,
    RealConv,
    RealDense,
    Table,
)
from devices.native.operators.reduction import Arg, LayerNorm, Reduce, Softmax
from devices.native.operators.spatial import AveragePool, Conv, ConvTranspose, MaxPool, Resize, Window

__all__ = [
    "Arg", "AveragePool", "Binary", "Broadcast", "Cast", "Concat", "Conv", "ConvTranspose", "Dense", "Dequantize", "FlipSign", "Gather",
    "IntegerConv", "IntegerDense", "LayerNorm", "MatMul", "MaxPool", "Pad", "QAdd", "QAveragePool", "QConv", "QDense", "QMean", "QMul",
    "Quantize", "RealConv", "RealDense", "Reduce", "Resize", "Slice", "Softmax", "Table", "Tile", "Transpose", "Unary", "View", "Where",
    "Window",
]  # fmt: skip
