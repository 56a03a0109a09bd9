"""Reductions, softmax, layer norm."""

# What each function computes is said where its operator is declared.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.native.ir import Type
from devices.native.operators.reduction import Arg, LayerNorm, Reduce, Softmax


def reduce(op: Reduce, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    axes, keep = op.axes, op.keep
    match op.kind:
        case "l1":
            y = np.sum(np.abs(x), axes, x.dtype, keepdims=keep)
        case "l2":
            y = np.sqrt(np.sum(np.square(x), axes, x.dtype, keepdims=keep))
        case "sumsquare":
            y = np.sum(np.square(x), axes, x.dtype, keepdims=keep)
        case "logsum":
            y = np.log(np.sum(x, axes, x.dtype, keepdims=keep))
        case "logsumexp":
            top = np.max(x, axes, keepdims=True, initial=-np.inf)
            top = np.where(np.isfinite(top), top, 0)
            y = np.log(np.sum(np.exp(x - top), axes, keepdims=True)) + top
            y = y if keep else np.squeeze(y, axes)
        case "mean" if x.dtype.kind != "f":
            y = np.sum(x, axes, np.int64, keepdims=keep) // np.prod([x.shape[axis] for axis in axes], dtype=np.int64)
        case "mean":
            y = np.mean(x, axes, keepdims=keep)
        case "sum" | "prod":
            y = getattr(np, op.kind)(x, axes, x.dtype, keepdims=keep)
        case _:
            y = getattr(np, op.kind)(x, axes, keepdims=keep, initial=_limit(x.dtype, lowest=op.kind == "max"))
    return np.asarray(y, x.dtype)


def _limit(dtype: np.dtype, *, lowest: bool) -> float:
    """The value that is below (or above) all others."""
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    if dtype.kind == "b":
        return not lowest
    return int(np.iinfo(dtype).min if lowest else np.iinfo(dtype).max)


def arg(op: Arg, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    find = np.argmax if op.kind == "max" else np.argmin
    if not op.last:
        return np.asarray(find(x, op.axis, keepdims=op.keep), np.int64)
    return np.asarray(x.shape[op.axis] - 1 - find(np.flip(x, op.axis), op.axis, keepdims=op.keep), np.int64)


def softmax(op: Softmax, types: Sequence[Type], out: Type, x: np.ndarray) -> np.ndarray:
    if not x.size:
        return x
    x = x - np.max(x, op.axis, keepdims=True)
    e = np.exp(x)
    total = np.sum(e, op.axis, keepdims=True)
    return np.asarray(x - np.log(total) if op.log else e / total, x.dtype)


def layer_norm(op: LayerNorm, types: Sequence[Type], out: Type, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    axes = tuple(range(op.axis, x.ndim))
    centred = x - np.mean(x, axes, keepdims=True)
    variance = np.mean(np.square(centred), axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + x.dtype.type(op.epsilon)) * scale + bias, x.dtype)
