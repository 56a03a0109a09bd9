from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Op, Type
from devices.native.passes.affine import fuse_affine

random = np.random.default_rng(0)
WINDOW = ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1))


def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def convolution(b: Builder, op: Op) -> str:
    """A convolution or product with 6 output channels."""
    match op:
        case ops.Dense():
            return b.add(op, b.input("x", Type("float32", (2, 4))), b.constant(normal(4, 6)), b.constant(normal(6)))
        case ops.ConvTranspose():
            weight = normal(4, 6 // op.group, 3, 3)
        case ops.Conv():
            weight = normal(6, 4 // op.group, 3, 3)
        case _:
            raise AssertionError(op)
    return b.add(op, b.input("x", Type("float32", (2, 4, 5, 5))), b.constant(weight), b.constant(normal(6)))


OPS = [ops.Conv(WINDOW), ops.Conv(WINDOW, 2), ops.ConvTranspose(WINDOW, (0, 0)), ops.ConvTranspose(WINDOW, (0, 0), 2), ops.Dense()]


@pytest.mark.parametrize("op", OPS, ids=lambda op: f"{type(op).__name__}{getattr(op, 'group', '')}")
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("number", [False, True])
def test_a_constant_for_each_channel_is_taken_in(op: Op, kind: str, number: bool, before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    y = convolution(b, op)
    shape = () if number else (6,) if isinstance(op, ops.Dense) else (6, 1, 1)
    y = b.add(ops.Binary(kind), y, b.constant(normal(*shape) + 3))  # type: ignore[arg-type]
    assert len(before_and_after(b.graph([("y", y)]), fuse_affine).nodes) == 1


def test_a_batch_norm_on_either_side(before_and_after: Callable[..., Graph]) -> None:
    """s * conv(x) + t, then again."""
    b = Builder()
    y = convolution(b, ops.Conv(WINDOW))
    for _ in range(2):
        y = b.add(ops.Binary("mul"), b.constant(normal(1, 6, 1, 1)), y)
        y = b.add(ops.Binary("add"), b.constant(normal(6, 1, 1)), y)
    assert len(before_and_after(b.graph([("y", y)]), fuse_affine).nodes) == 1


def stays(b: Builder, outputs: list[str], before_and_after: Callable[..., Graph]) -> None:
    graph = b.graph([(str(index), name) for index, name in enumerate(outputs)])
    assert len(before_and_after(graph, fuse_affine).nodes) == len(graph.nodes)


def test_what_cannot_be_taken_in_stays(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    conv = convolution(b, ops.Conv(WINDOW))
    stays(b, [b.add(ops.Binary("mul"), conv, b.constant(normal(5)))], before_and_after)

    b = Builder()
    conv = convolution(b, ops.Conv(WINDOW))
    stays(b, [b.add(ops.Binary("sub"), b.scalar(1), conv)], before_and_after)

    b = Builder()
    conv = convolution(b, ops.Conv(WINDOW))
    stays(b, [b.add(ops.Binary("mul"), conv, b.scalar(2)), conv], before_and_after)

    b = Builder()
    conv = convolution(b, ops.Conv(WINDOW, activation=ops.Unary("relu")))
    stays(b, [b.add(ops.Binary("sub"), conv, b.scalar(2))], before_and_after)

    b = Builder()
    conv = convolution(b, ops.Conv(WINDOW))
    stays(b, [b.add(ops.Binary("add"), conv, b.constant(normal(3, 1, 1, 1, 1)[:2, 0]))], before_and_after)
