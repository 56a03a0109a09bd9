from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Op, Type, verify
from devices.native.passes.batch import open_batch, rebatched
from devices.native.reference import run

WEIGHT = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32)


def of(make: Callable[[Builder, str, int], str], shape: tuple[int, ...] = (4, 6, 6)) -> Graph | None:
    """The graph with an open batch of what `make(builder, x, items)` builds."""

    def build(items: int) -> Graph:
        b = Builder()
        return b.graph([("y", make(b, b.input("x", Type("float32", (items, *shape))), items))])

    return open_batch(build(1), build(2))


def conv(b: Builder, x: str, items: int) -> str:
    op = ops.Conv(ops.Window((3, 3), (2, 2), (1,) * 4, (1, 1)))
    y = b.add(op, x, b.constant(WEIGHT), b.constant(np.ones(4, np.float32)))
    y = b.add(ops.Binary("mul"), y, b.add(ops.Reduce("mean", (2, 3)), y))
    return b.add(ops.Softmax(1), b.add(ops.View((items, 36)), y))


def test_items_are_computed_apart() -> None:
    graph = of(conv)
    assert graph is not None
    assert graph.batch == ("x",)
    many = rebatched(graph, 5)
    verify(many)
    x = np.random.default_rng(1).standard_normal((5, 4, 6, 6)).astype(np.float32)
    whole = run(many, {"x": x})["y"]
    assert np.array_equal(whole, np.concatenate([run(graph, {"x": item[None]})["y"] for item in x]))


APART: list[Op] = [
    ops.Unary("relu"), ops.Transpose((0, 2, 1, 3)), ops.Slice((1,), (0,), (1,), (2,)), ops.Pad((0, 1, 0, 0), (0, 0, 2, 0)), ops.Softmax(2),
    ops.Reduce("max", (1, 3)), ops.Arg("max", 1), ops.Tile((1, 2, 1, 1)), ops.Resize((2,), (12,), (2.0,)),
]  # fmt: skip
TOGETHER: list[Op] = [ops.Transpose((1, 0, 2, 3)), ops.Softmax(0), ops.Reduce("sum", (0, 1)), ops.Arg("max", 0), ops.Tile((2, 1, 1, 1))]


@pytest.mark.parametrize("op", APART, ids=str)
def test_operators_that_keep_items_apart(op: Op) -> None:
    graph = of(lambda b, x, items: b.add(op, x))
    assert graph is not None
    x = np.random.default_rng(1).standard_normal((3, 4, 6, 6)).astype(np.float32)
    whole = run(rebatched(graph, 3), {"x": x})["y"]
    assert np.array_equal(whole, np.concatenate([run(graph, {"x": item[None]})["y"] for item in x]))


@pytest.mark.parametrize("op", TOGETHER, ids=str)
def test_operators_that_mix_items(op: Op) -> None:
    assert of(lambda b, x, items: b.add(op, x)) is None


def test_joining_along_the_batch_mixes_items() -> None:
    assert of(lambda b, x, items: b.add(ops.Concat(0), x, x)) is None
    assert of(lambda b, x, items: b.add(ops.Concat(1), x, x)) is not None


def test_a_shape_that_does_not_follow_the_batch() -> None:
    assert of(lambda b, x, items: b.add(ops.View((items * 4, 36)), x)) is None
    assert of(lambda b, x, items: b.add(ops.View((items, 144)), x)) is not None


def test_constants_that_depend_on_the_batch() -> None:
    assert of(lambda b, x, items: b.add(ops.Binary("mul"), x, b.scalar(items))) is None


def test_an_operand_that_fits_two_items_by_chance() -> None:
    pair = np.ones((2, 4, 6, 6), np.float32)
    assert of(lambda b, x, items: b.add(ops.Binary("mul"), x, b.constant(pair))) is None
    assert of(lambda b, x, items: b.add(ops.Binary("mul"), x, b.constant(pair[:1]))) is not None


def test_values_that_are_not_of_the_batch() -> None:
    def scaled(b: Builder, x: str, items: int) -> str:
        return b.add(ops.Binary("mul"), x, b.add(ops.Unary("exp"), b.input("factor", Type("float32", ()))))

    graph = of(scaled)
    assert graph is not None
    assert graph.batch == ("x",)
    assert rebatched(graph, 3).types["factor"].shape == ()


def test_products_of_matrices() -> None:
    weight = np.ones((2, 6, 3), np.float32)
    assert of(lambda b, x, items: b.add(ops.MatMul(), x, x)) is not None
    assert of(lambda b, x, items: b.add(ops.MatMul(), x, b.constant(weight[0]))) is not None
    assert of(lambda b, x, items: b.add(ops.MatMul(), x, b.constant(weight)), (6, 6)) is None
    assert of(lambda b, x, items: b.add(ops.MatMul(), x, b.constant(weight[0])), (6,)) is not None
    assert of(lambda b, x, items: b.add(ops.MatMul(), b.constant(weight[0].T), x), (6, 5)) is not None


def test_another_model_for_each_batch() -> None:
    graph = of(conv)
    assert graph is not None
    assert open_batch(replace(graph, batch=()), replace(rebatched(graph, 2), nodes=graph.nodes[:-1])) is None
