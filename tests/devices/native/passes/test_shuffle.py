from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.passes.shuffle import cut_shuffles


def shuffle(parts: int, index: int, *, perm: tuple[int, ...] = (1, 0, 2)) -> Graph:
    b = Builder()
    x = b.add(ops.Unary("tanh"), b.input("x", Type("float32", (1, 12, 3, 5))))
    split = b.add(ops.Transpose(perm), b.add(ops.View((12 // parts, parts, 15)), x))
    shape = b.types[split].shape
    unfolded = b.add(ops.View((shape[0], 1, shape[1], 3, 5)), split)
    return b.graph([("y", b.add(ops.Gather(0), unfolded, b.constant(np.array(index, np.int64))))])


@pytest.mark.parametrize(("parts", "index"), [(2, 0), (2, 1), (3, -1), (4, 2)])
def test_every_nth_channel(parts: int, index: int, before_and_after: Callable[..., Graph]) -> None:
    changed = before_and_after(shuffle(parts, index), cut_shuffles, 0.0)
    assert [type(node.op).__name__ for node in changed.nodes] == ["Unary", "Slice"]


def test_another_order_stays(before_and_after: Callable[..., Graph]) -> None:
    changed = before_and_after(shuffle(2, 1, perm=(0, 1, 2)), cut_shuffles, 0.0)
    assert any(isinstance(node.op, ops.Gather) for node in changed.nodes)
