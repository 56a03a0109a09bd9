"""Products of matrices."""

# Each public function reads the ONNX operators that `table.py` names it for, as ONNX defines them.
# ruff: noqa: D103

from __future__ import annotations

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source
from devices.native.ir import GraphError


def matmul(b: Builder, node: Source) -> str:
    left, right = node.input(0), node.input(1)
    told = b.types[right]
    if right in b.static and told.rank == 2 and told.dtype == "float32":
        return b.add(ops.Dense(), left, right, b.constant(np.zeros(told.shape[1], np.float32), "no bias"))
    return b.add(ops.MatMul(), left, right)


def gemm(b: Builder, node: Source) -> str:
    left, right, added = node.input(0), node.input(1), node.optional(2)
    if b.types[left].rank != 2 or b.types[right].rank != 2:
        raise GraphError(f"expected two matrices, got {b.types[left]} and {b.types[right]}")
    if node.integer("transA", 0):
        left = b.add(ops.Transpose((1, 0)), left)
    if node.integer("transB", 0):
        right = b.add(ops.Transpose((1, 0)), right)
    right = _scaled(b, right, node.real("alpha", 1.0))
    added = None if added is None else _scaled(b, added, node.real("beta", 1.0))
    columns = b.types[right].shape[1]
    told = None if added is None else b.types[added]
    if added is None or (told is not None and told.shape not in ((columns,), (1, columns), (), (1,), (1, 1))):
        bias = b.constant(np.zeros(columns, np.float32), "no bias")
    else:
        bias = added
        if told is not None and told.shape == (1, columns):
            bias = b.add(ops.View((columns,)), added)
        elif told is not None and told.shape != (columns,):
            bias = b.add(ops.Broadcast((columns,)), b.add(ops.View((1,)), added))
        added = None
    product = b.add(ops.Dense(), left, right, bias)
    return product if added is None else b.add(ops.Binary("add"), product, added)


def _scaled(b: Builder, x: str, factor: float) -> str:
    return x if factor == 1 else b.add(ops.Binary("mul"), x, b.scalar(factor, b.types[x].dtype))
