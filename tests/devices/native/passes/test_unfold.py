from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.passes.unfold import unfold_transposed


def transposed(kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...] = (0, 0, 0, 0), outs: int = 3) -> Graph:
    b, random = Builder(), np.random.default_rng(0)
    weight = b.constant(random.standard_normal((5, outs, *kernel)).astype(np.float32))
    bias = b.constant(random.standard_normal(outs).astype(np.float32))
    op = ops.ConvTranspose(ops.Window(kernel, strides, pads, (1, 1)), (0, 0), activation=ops.Unary("sigmoid"))
    return b.graph([("y", b.add(op, b.input("x", Type("float32", (2, 5, 3, 4))), weight, bias))])


@pytest.mark.parametrize("kernel", [(2, 2), (1, 3), (1, 1), (3, 2)])
@pytest.mark.parametrize("outs", [1, 3])
def test_windows_beside_each_other(kernel: tuple[int, int], outs: int, before_and_after: Callable[..., Graph]) -> None:
    changed = before_and_after(transposed(kernel, kernel, outs=outs), unfold_transposed)
    assert not any(isinstance(node.op, ops.ConvTranspose) for node in changed.nodes)


def test_windows_that_overlap_stay(before_and_after: Callable[..., Graph]) -> None:
    for graph in (transposed((3, 3), (2, 2)), transposed((2, 2), (2, 2), (1, 0, 0, 0))):
        assert before_and_after(graph, unfold_transposed).digest == graph.digest
