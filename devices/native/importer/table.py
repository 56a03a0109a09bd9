"""Every operator that the engine claims: its importer, and the first version of the operator set for which its meaning is known.

The ONNX backend node tests of all of them are run. `constant` are the inputs that must be known before the model runs. int8 values
that stand as uint8 (`builder`) are made int8 again for all but operators that only `moves` them and those that `reads` them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devices.native.importer import elementwise, matrix, movement, quantized, reduction, spatial
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source

LATEST = 28
"""The newest operator set of ONNX's own domain whose operators were checked against this table."""

Importer = Callable[[Builder, Source], "str | list[str]"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One operator. Its versions from `first` to LATEST (or `last`) are claimed."""

    read: Importer
    first: int = 7
    constant: tuple[int, ...] = ()
    moves: bool = False
    reads: bool = False
    last: int = LATEST


OPERATORS: Mapping[str, Claim] = {
    **dict.fromkeys(elementwise.UNARY, Claim(elementwise.unary, 6)),
    **dict.fromkeys(("LeakyRelu", "Elu", "HardSigmoid"), Claim(elementwise.parametric, 6)),
    "Gelu": Claim(elementwise.parametric, 20),
    "Mish": Claim(elementwise.mish, 18),
    "Clip": Claim(elementwise.clip, 6),
    **dict.fromkeys(elementwise.BINARY, Claim(elementwise.binary)),
    "Mod": Claim(elementwise.modulo, 10),
    "Pow": Claim(elementwise.power),
    **dict.fromkeys(elementwise.VARIADIC, Claim(elementwise.variadic, 8)),
    "PRelu": Claim(elementwise.prelu),
    "Where": Claim(elementwise.where, 9),
    "Cast": Claim(elementwise.cast, 6),
    "CastLike": Claim(elementwise.cast_like, 15),
    "Identity": Claim(elementwise.identity, 1, moves=True),
    "Dropout": Claim(elementwise.dropout, constant=(1, 2)),
    "Conv": Claim(spatial.conv, 1),
    "ConvTranspose": Claim(spatial.conv_transpose, 1),
    "MaxPool": Claim(spatial.max_pool, 1, moves=True),
    "AveragePool": Claim(spatial.average_pool, 1),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), Claim(spatial.global_pool, 1)),
    "Resize": Claim(spatial.resize, 10, (1, 2, 3)),
    "Upsample": Claim(spatial.upsample, 7, (1,), last=9),
    "DepthToSpace": Claim(spatial.depth_to_space, 1, moves=True),
    "SpaceToDepth": Claim(spatial.space_to_depth, 1, moves=True),
    "MatMul": Claim(matrix.matmul, 1),
    "Gemm": Claim(matrix.gemm),
    "Reshape": Claim(movement.reshape, 5, (1,), moves=True),
    "Flatten": Claim(movement.flatten, 1, moves=True),
    "Squeeze": Claim(movement.squeeze, 1, (1,), moves=True),
    "Unsqueeze": Claim(movement.unsqueeze, 1, (1,), moves=True),
    "Transpose": Claim(movement.transpose, 1, moves=True),
    "Concat": Claim(movement.concat, 4, moves=True),
    "Slice": Claim(movement.cut, 1, (1, 2, 3, 4), moves=True),
    "Split": Claim(movement.split, 2, (1,), moves=True),
    "Pad": Claim(movement.pad, 2, (1, 2, 3)),
    "Gather": Claim(movement.gather, 1, moves=True),
    "Expand": Claim(movement.expand, 8, (1,), moves=True),
    "Tile": Claim(movement.tile, 6, (1,), moves=True),
    "Shape": Claim(movement.shape, 1),
    "Size": Claim(movement.size, 1),
    "Constant": Claim(movement.constant, 1),
    "ConstantOfShape": Claim(movement.constant_of_shape, 9, (0,)),
    "Range": Claim(movement.sequence, 11, (0, 1, 2)),
    **dict.fromkeys(reduction.KINDS, Claim(reduction.reduce, 1, (1,))),
    **dict.fromkeys(("ArgMax", "ArgMin"), Claim(reduction.arg, 1)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), Claim(reduction.softmax, 1)),
    "BatchNormalization": Claim(reduction.batch_norm, 7),
    "InstanceNormalization": Claim(reduction.instance_norm, 6),
    "LayerNormalization": Claim(reduction.layer_norm, 17),
    "QuantizeLinear": Claim(quantized.quantize, 10, (1, 2)),
    "DequantizeLinear": Claim(quantized.dequantize, 10, (1, 2), reads=True),
    "QLinearConv": Claim(quantized.q_conv, 10, (1, 2, 3, 4, 5, 6, 7, 8), reads=True),
    "QLinearMatMul": Claim(quantized.q_matmul, 10, (1, 2, 4, 5, 6, 7), reads=True),
    "DynamicQuantizeLinear": Claim(quantized.dynamic_quantize, 11),
    "ConvInteger": Claim(quantized.conv_integer, 10, (1, 3)),
    "MatMulInteger": Claim(quantized.matmul_integer, 10, (1, 3)),
    "com.microsoft::QuantizeLinear": Claim(quantized.quantize, 1, (1, 2)),
    "com.microsoft::DequantizeLinear": Claim(quantized.dequantize, 1, (1, 2), reads=True),
    **dict.fromkeys(("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul"), Claim(quantized.q_add, 1, (1, 2, 4, 5, 6, 7), reads=True)),
    "com.microsoft::QGemm": Claim(quantized.q_gemm, 1, (1, 2, 3, 4, 5, 6, 7, 8), reads=True),
    "com.microsoft::QLinearGlobalAveragePool": Claim(quantized.q_mean, 1, (1, 2, 3, 4), reads=True),
    "com.microsoft::QLinearAveragePool": Claim(quantized.q_average_pool, 1, (1, 2, 3, 4), reads=True),
    **dict.fromkeys(
        ("com.microsoft::QLinearSigmoid", "com.microsoft::QLinearLeakyRelu"), Claim(quantized.q_unary, 1, (1, 2, 3, 4), reads=True)
    ),
    "com.microsoft::QLinearConcat": Claim(quantized.q_concat, 1, reads=True),
}
