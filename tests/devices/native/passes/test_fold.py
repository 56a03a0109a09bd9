from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Quantization, Type
from devices.native.passes import fold
from devices.native.passes.fold import fold_constants


def weights() -> Graph:
    """x @ dequantized weights + (1 + 2)."""
    b = Builder()
    x = b.input("x", Type("float32", (2, 4)))
    q = Quantization((0.5, 0.25, 2.0), (1, 0, -3), 1)
    stored = b.constant(np.arange(12, dtype=np.int8).reshape(4, 3), "w", q)
    real = b.add(ops.Dequantize(), stored)
    y = b.add(ops.Dense(), x, real, b.constant(np.zeros(3, np.float32), "b"))
    return b.graph([("y", y)])


def test_constants_become_one(before_and_after: Callable[..., Graph]) -> None:
    graph = before_and_after(weights(), fold_constants)
    assert [type(node.op) for node in graph.nodes] == [ops.Dense]
    (real,) = [array for array in graph.constants.values() if array.ndim == 2]
    assert np.array_equal(real[1], np.array([(3 - 1) * 0.5, 4 * 0.25, (5 + 3) * 2], np.float32))


def test_an_output_that_is_known(before_and_after: Callable[..., Graph]) -> None:
    graph = weights()
    graph = before_and_after(replace(graph, outputs=(("w", graph.nodes[0].output),)), fold_constants)
    assert not graph.nodes


@pytest.mark.parametrize("limit", ["MAX_FOLDED", "MAX_WORK"])
def test_what_is_too_large_stays(limit: str, before_and_after: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, limit, 8)
    assert len(before_and_after(weights(), fold_constants).nodes) == 2
