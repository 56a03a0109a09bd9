"""8-bit operators against Python's own integers, and against ONNX Runtime's exact mode, bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from devices.native import operators as ops
from devices.native.importer import import_model
from devices.native.ir import Quantization, Type
from devices.native.passes import optimize
from devices.native.reference import evaluate, run
from devices.native.reference.quantized import requantized

node = helper.make_node
MS = "com.microsoft"


def single(value: float) -> float:
    """Rounded to float32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def half_even(value: float) -> int:
    return round(Fraction(value))


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50), st.floats(2.0**-20, 1.0, width=32), st.integers(0, 255))
@settings(max_examples=200)
def test_requantization_is_what_it_says(sums: list[int], scale: float, zero: int) -> None:
    """y = clamp(round_half_even(float32(float32(sum) * scale)) + zero)."""
    got = requantized(np.array(sums, np.int32), np.float32(scale), Quantization((1.0,), (zero,)))
    wanted = [min(255, max(0, half_even(single(single(value) * scale)) + zero)) for value in sums]
    assert got.tolist() == wanted


@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 255), st.integers(-128, 127))
@settings(max_examples=60)
def test_a_convolution_is_a_loop(seed: int, depthwise: bool, zero: int, weight_zero: int) -> None:
    random = np.random.default_rng(seed)
    group = 3 if depthwise else 1
    x = random.integers(0, 256, (1, 3, 4, 5)).astype(np.uint8)
    w = random.integers(-128, 128, (6, 3 // group, 2, 3)).astype(np.int8)
    bias = random.integers(-(2**20), 2**20, 6).astype(np.int32)
    scales = tuple(single(value) for value in random.uniform(0.001, 0.01, 6))
    given_x, out = Quantization((single(0.02),), (zero,)), Quantization((single(0.3),), (9,))
    op = ops.QConv(ops.Window((2, 3), (2, 1), (0, 1, 1, 1), (1, 2)), out, group)
    types = [
        Type("uint8", x.shape, quantization=given_x),
        Type("int8", w.shape, quantization=Quantization(scales, (weight_zero,) * 6, 0)),
        Type("int32", (6,)),
    ]
    told = op.infer(*types)
    got = evaluate(op, types, told, [x, w, bias])
    for place in np.ndindex(told.shape):
        _, channel, row, column = place
        first = channel // (6 // group) * (3 // group)
        total = int(bias[channel])
        for at, weight in np.ndenumerate(w[channel]):
            y, z = row * 2 + at[1], column + at[2] * 2 - 1
            value = int(x[0, first + at[0], y, z]) - zero if y < 4 and 0 <= z < 5 else 0
            total += value * (int(weight) - weight_zero)
        s = single(single(given_x.scales[0] * scales[channel]) / out.scales[0])
        assert got[place] == min(255, max(0, half_even(single(single(total) * s)) + 9)), place


Q = {"xs": np.float32(0.031), "xz": np.uint8(117), "ys": np.float32(0.047), "yz": np.uint8(99)}
random = np.random.default_rng(0)
SHAPE = (2, 8, 9, 7)


def start(dtype: str = "uint8") -> list[Any]:
    return [node("QuantizeLinear", ["x", "xs", "xz"], ["q"])]


def conv_constants(group: int, *, dtype: str, channelwise: bool, zero: int) -> dict[str, np.ndarray]:
    low = 0 if dtype == "uint8" else -128
    count = 12 if channelwise else 1
    scales = random.uniform(0.001, 0.01, count).astype(np.float32)
    zeros = np.full(count, zero, dtype)
    return {
        **Q, "w": random.integers(low, low + 256, (12, 8 // group, 3, 3)).astype(dtype), "ws": scales if channelwise else scales[0],
        "wz": zeros if channelwise else zeros[0], "b": random.integers(-2000, 2000, 12).astype(np.int32),
    }  # fmt: skip


CONV = [node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], pads=[1, 1, 1, 1], strides=[2, 1])]
SIGNED = {"xz": np.int8(-11), "yz": np.int8(3)}


def grouped(group: int) -> list[Any]:
    return [node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], pads=[1, 0, 1, 2], group=group)]


PAIR = {**Q, "zs": np.float32(0.02), "zz": np.uint8(140)}
OTHER = [node("QuantizeLinear", ["x", "zs", "zz"], ["r"])]
MATRIX = {**Q, "w": random.integers(-128, 128, (7, 5)).astype(np.int8), "ws": np.float32(0.004), "wz": np.int8(0)}
DENSE = [node("Flatten", ["q"], ["f"])]
GEMM = {**Q, "w": random.integers(-127, 128, (11, 504)).astype(np.int8), "ws": random.uniform(0.001, 0.01, 11).astype(np.float32),
        "wz": np.zeros(11, np.int8), "b": random.integers(-900, 900, 11).astype(np.int32)}  # fmt: skip

STEPS = ["q", "xs", "xz", "ys", "yz"]
UNIT = {**Q, "ys": np.float32(1 / 256), "yz": np.uint8(0)}
SMALL = conv_constants(1, dtype="int8", channelwise=True, zero=0)
SMALL["w"] = SMALL["w"] // 2

CASES: list[tuple[str, list[Any], dict[str, np.ndarray], str]] = [
    ("conv", CONV, conv_constants(1, dtype="int8", channelwise=True, zero=0), "uint8"),
    ("conv one scale", CONV, conv_constants(1, dtype="int8", channelwise=False, zero=0), "uint8"),
    ("conv u8 weights", CONV, conv_constants(1, dtype="uint8", channelwise=False, zero=131), "uint8"),
    ("conv weight zero", CONV, conv_constants(1, dtype="int8", channelwise=False, zero=-7), "uint8"),
    ("conv s8", CONV, {**SMALL, **SIGNED}, "int8"),
    ("grouped", grouped(2), conv_constants(2, dtype="int8", channelwise=True, zero=0), "uint8"),
    ("matmul", [node("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"])], MATRIX, "uint8"),
    ("gemm", [*DENSE, node("QGemm", ["f", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"], ["y"], domain=MS, transB=1)], GEMM, "uint8"),
    ("add", [*OTHER, node("QLinearAdd", ["q", "xs", "xz", "r", "zs", "zz", "ys", "yz"], ["y"], domain=MS)], PAIR, "uint8"),
    ("mul", [*OTHER, node("QLinearMul", ["q", "xs", "xz", "r", "zs", "zz", "ys", "yz"], ["y"], domain=MS)], PAIR, "uint8"),
    ("mean", [node("QLinearGlobalAveragePool", STEPS, ["y"], domain=MS)], Q, "uint8"),
    ("average", [node("QLinearAveragePool", STEPS, ["y"], domain=MS, kernel_shape=[3, 3], strides=[2, 2])], Q, "uint8"),
    ("leaky", [node("QLinearLeakyRelu", STEPS, ["y"], domain=MS, alpha=0.1)], Q, "uint8"),
    ("sigmoid", [node("QLinearSigmoid", STEPS, ["y"], domain=MS)], UNIT, "uint8"),
    ("concat", [*OTHER, node("QLinearConcat", ["ys", "yz", "q", "xs", "xz", "r", "zs", "zz"], ["y"], domain=MS, axis=1)], PAIR, "uint8"),
    ("max pool s8", [node("MaxPool", ["q"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {**Q, **SIGNED}, "int8"),
    ("moves s8", [node("Transpose", ["q"], ["t"], perm=[0, 2, 3, 1]), node("Reshape", ["t", "z"], ["y"])],
     {**Q, **SIGNED, "z": np.array([-1, 8])}, "int8"),
    ("depth s8", [node("Transpose", ["q"], ["t"], perm=[0, 2, 1, 3]), node("SpaceToDepth", ["q"], ["d"], blocksize=1),
                  node("Concat", ["d", "q"], ["y"], axis=1)], {**Q, **SIGNED}, "int8"),
    ("concat s8", [node("QuantizeLinear", ["x", "zs", "sz"], ["r"]), node("Concat", ["q", "r"], ["y"], axis=1)],
     {**PAIR, **SIGNED, "sz": np.int8(5)}, "int8"),
    ("s8 leaves its numbers", [node("Cast", ["q"], ["y"], to=6)], {**Q, **SIGNED}, "int32"),
    ("s8 meets u8", [*OTHER, node("DequantizeLinear", ["q", "xs", "xz"], ["d"]), node("DequantizeLinear", ["r", "zs", "zz"], ["e"]),
                     node("Add", ["d", "e"], ["y"])], {**PAIR, **SIGNED}, "float32"),
    ("per channel", [node("QuantizeLinear", ["x", "cs", "cz"], ["k"], axis=1), node("DequantizeLinear", ["k", "cs", "cz"], ["y"], axis=1)],
     {**Q, "cs": random.uniform(0.01, 0.02, 8).astype(np.float32), "cz": np.arange(100, 108).astype(np.uint8)}, "float32"),
    ("dynamic", [node("DynamicQuantizeLinear", ["x"], ["d", "ds", "dz"]), node("ConvInteger", ["d", "w", "dz"], ["y"])],
     {**Q, "w": random.integers(-128, 128, (3, 8, 3, 3)).astype(np.int8)}, "int32"),
    ("dynamic matrix", [node("DynamicQuantizeLinear", ["x"], ["d", "ds", "dz"]), node("MatMulInteger", ["d", "w", "dz"], ["y"])], MATRIX,
     "int32"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "nodes", "constants", "dtype"), CASES, ids=[case[0] for case in CASES])
def test_the_same_bits_as_onnx_runtime(
    name: str, nodes: list[Any], constants: dict[str, np.ndarray], dtype: str,
    save_any: Callable[..., Path], onnxruntime_run: Callable[..., dict[str, np.ndarray]],
) -> None:  # fmt: skip
    path = save_any([*start(), *nodes], [("x", "float32", SHAPE)], [("y", dtype)], constants)
    # ONNX Runtime's exact mode makes a convolution that it has no kernel for out of one over int8 values.
    exact = name != "conv s8"
    graph = import_model(path)
    for seed in range(4):
        inputs = {"x": (np.random.default_rng(seed).standard_normal(SHAPE) * 1.5).astype(np.float32)}
        wanted = onnxruntime_run(path, inputs, exact=exact)["y"]
        for each in (graph, optimize(graph)):
            got = run(each, inputs)["y"]
            assert got.dtype == wanted.dtype
            assert np.array_equal(got, wanted), np.abs(got.astype(float) - wanted.astype(float)).max()


def test_an_input_that_is_quantized_already(save_any: Callable[..., Path], onnxruntime_run: Callable[..., dict[str, np.ndarray]]) -> None:
    path = save_any([node("DequantizeLinear", ["q", "s", "z"], ["y"])], [("q", "int8", (256,))], [("y", "float32")],
                    {"s": np.float32(0.3), "z": np.int8(-5)})  # fmt: skip
    inputs = {"q": np.arange(-128, 128).astype(np.int8)}
    assert np.array_equal(run(import_model(path), inputs)["y"], onnxruntime_run(path, inputs)["y"])


def test_numbers_that_are_none_become_the_lowest() -> None:
    op = ops.Quantize(Quantization((0.1,), (7,)))
    told = Type("float32", (4,))
    x = np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)
    assert evaluate(op, [told], op.infer(told), [x]).tolist() == [0, 255, 0, 255]
