from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Quantization, Type
from devices.native.passes.real import fuse_real

random = np.random.default_rng(0)
IN = Quantization((0.03,), (120,))
POINT = ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1))


def start(b: Builder, shape: tuple[int, ...] = (1, 4, 6, 6)) -> str:
    return b.add(ops.Dequantize(), b.add(ops.Quantize(IN), b.input("x", Type("float32", shape))))


def weight(b: Builder, shape: tuple[int, ...], axis: int) -> str:
    scales = tuple(float(np.float32(value)) for value in random.uniform(0.001, 0.02, shape[axis]))
    stored = b.constant(random.integers(-127, 128, shape).astype(np.int8), "w", Quantization(scales, (0,) * shape[axis], axis))
    return b.add(ops.Dequantize(), stored)


def conv(b: Builder, x: str, op: ops.Conv, *more: str) -> str:
    shape = (8, 4 // op.group, *op.window.kernel)
    return b.add(op, x, weight(b, shape, 0), b.constant(random.standard_normal(8).astype(np.float32)), *more)


@pytest.mark.parametrize("window", [POINT, ops.Window((3, 3), (2, 2), (1, 0, 0, 1), (1, 1))])
def test_convolutions(window: ops.Window, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    fused = before_and_after(b.graph([("y", conv(b, start(b), ops.Conv(window)))]), fuse_real, 1e-4)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.RealConv]


def test_sum_and_activation_stay_behind_it(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = conv(b, start(b), ops.Conv(POINT, activation=ops.Unary("relu"), residual=True), b.input("z", Type("float32", (1, 8, 6, 6))))
    fused = before_and_after(b.graph([("y", y)]), fuse_real, 1e-4)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.RealConv, ops.Binary, ops.Unary]


def test_products(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = b.add(ops.Dense(), start(b, (3, 20)), weight(b, (20, 5), 1), b.constant(np.ones(5, np.float32)))
    fused = before_and_after(b.graph([("y", y)]), fuse_real, 1e-4)
    assert [type(node.op) for node in fused.nodes] == [ops.Quantize, ops.RealDense]


@pytest.mark.parametrize("group", [2, 4])
def test_groups_stay_float(group: int, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    fused = before_and_after(b.graph([("y", conv(b, start(b), ops.Conv(POINT, group)))]), fuse_real, 1e-4)
    assert ops.RealConv not in [type(node.op) for node in fused.nodes]


def test_what_is_read_in_floats_stays_float(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    fused = before_and_after(b.graph([("y", conv(b, b.input("x", Type("float32", (1, 4, 6, 6))), ops.Conv(POINT)))]), fuse_real, 1e-4)
    assert ops.RealConv not in [type(node.op) for node in fused.nodes]
