"""Products of two matrices that are both computed."""

# What each does is said in `kernels.catalogue`.

from __future__ import annotations

from math import inf, prod

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Call, Context, Part, Words, row_stride
from devices.native.kernels import tiles
from devices.native.kernels.catalogue import MATMUL_WIDTH
from devices.native.kernels.layout import round_up
from devices.native.lower import Operand, Step

MOST = 64
"""Products of one step."""


def matmul(context: Context, step: Step) -> list[Call] | None:
    """One call for each pair of matrices."""
    assert isinstance(step.op, ops.MatMul)
    (a, b), out = step.inputs, step.output
    if min(a.type.rank, b.type.rank) < 2 or out.type.dtype != "float32" or 0 in (*a.type.shape, *b.type.shape):
        return None
    m, depth, n = a.type.shape[-2], a.type.shape[-1], b.type.shape[-1]
    outer = out.type.shape[:-2]
    if min(b.stride, out.stride) < round_up(n, MATMUL_WIDTH) or "constants" in (a.region, b.region) or prod(outer) > MOST:
        return None
    tall = tiles.tallest(context.isa, m, MATMUL_WIDTH)
    words: Words = {
        "bias": np.zeros(round_up(n, MATMUL_WIDTH), np.float32), "depth": depth, "outputs": n, "tile_rows": tall, "low": -inf, "high": inf,
        "stride_a": row_stride(a), "stride_b": row_stride(b), "stride_out": row_stride(out), "scratch_bytes": 64,
    }  # fmt: skip
    return [
        Call("matmul_f32", m, {**words, "a": _matrix(a, place), "b": _matrix(b, place), "out": _matrix(out, place)})
        for place in np.ndindex(outer)
    ]


def _matrix(operand: Operand, place: tuple[int, ...]) -> Part:
    """The matrix of an operand that takes part at a place of the output's outer axes."""
    outer = operand.type.shape[:-2]
    own = place[len(place) - len(outer) :]
    number = 0
    for size, at in zip(outer, own, strict=True):
        number = number * size + (at if size > 1 else 0)
    return Part(operand, number * operand.type.shape[-2] * row_stride(operand))
