"""Comparisons, and the choice between two values."""

# What each does is said in `kernels.catalogue`.
# ruff: noqa: D103

from __future__ import annotations

from math import prod

import numpy as np

from devices.native import operators as ops
from devices.native.calls.call import Call, Context, Part, Words
from devices.native.kernels.catalogue import COMPARISONS
from devices.native.lower import Operand, Step

SIZES = (1, 4, 8)


def compare(context: Context, step: Step) -> list[Call] | None:
    assert isinstance(step.op, ops.Binary)
    if step.op.kind not in COMPARISONS or step.inputs[0].type.dtype != "float32":
        return None
    return _each(step, f"compare_{step.op.kind}_f32", ("a", "b"))


def where(context: Context, step: Step) -> list[Call] | None:
    size = np.dtype(step.output.type.dtype).itemsize
    return _each(step, f"where_{size}", ("condition", "yes", "no")) if size in SIZES else None


def _each(step: Step, kernel: str, names: tuple[str, ...]) -> list[Call] | None:
    """A kernel over elements without gaps, or the same one for all."""
    out = step.output
    words: Words = {"out": Part(out)}
    for name, operand in zip(names, step.inputs, strict=True):
        one = prod(operand.type.shape) == 1
        if not one and (operand.type.shape != out.type.shape or _gaps(operand)):
            return None
        words |= {name: Part(operand), f"stride_{name}": 0 if one else np.dtype(operand.type.dtype).itemsize}
    count = prod(out.type.shape)
    return None if _gaps(out) or not count else [Call(kernel, count, words)]


def _gaps(operand: Operand) -> bool:
    return bool(operand.type.rank) and operand.stride != operand.type.shape[-1] and prod(operand.type.shape[:-1]) != 1
