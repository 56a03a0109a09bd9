"""Functions of single elements."""

# Each public function reads the ONNX operators that `table.py` names it for, as ONNX defines them.
# ruff: noqa: D103

from __future__ import annotations

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source
from devices.native.ir import GraphError, Type
from devices.native.operators.elementwise import BinaryKind, UnaryKind

UNARY: dict[str, UnaryKind] = {
    "Relu": "relu", "Sigmoid": "sigmoid", "HardSwish": "hardswish", "Tanh": "tanh", "Softplus": "softplus", "Erf": "erf", "Exp": "exp",
    "Log": "log", "Sqrt": "sqrt", "Neg": "neg", "Abs": "abs", "Floor": "floor", "Ceil": "ceil", "Round": "round",
    "Reciprocal": "reciprocal", "Sin": "sin", "Cos": "cos", "Sign": "sign", "Not": "not",
}  # fmt: skip
BINARY: dict[str, BinaryKind] = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Less": "less", "LessOrEqual": "lessequal", "Greater": "greater",
    "GreaterOrEqual": "greaterequal", "Equal": "equal", "And": "and", "Or": "or", "Xor": "xor",
}  # fmt: skip
VARIADIC: dict[str, BinaryKind] = {"Min": "min", "Max": "max", "Sum": "add", "Mean": "add"}


def unary(b: Builder, node: Source) -> str:
    return b.add(ops.Unary(UNARY[node.operator]), node.input(0))


def parametric(b: Builder, node: Source) -> str:
    match node.operator:
        case "LeakyRelu":
            op = ops.Unary("leakyrelu", (node.real("alpha", 0.01),))
        case "Elu":
            op = ops.Unary("elu", (node.real("alpha", 1.0),))
        case "HardSigmoid":
            op = ops.Unary("hardsigmoid", (node.real("alpha", 0.2), node.real("beta", 0.5)))
        case _:
            op = ops.Unary("gelu", ({"none": 0.0, "tanh": 1.0}.get(node.text("approximate", "none"), float("nan")),))
    return b.add(op, node.input(0))


def mish(b: Builder, node: Source) -> str:
    x = node.input(0)
    return b.add(ops.Binary("mul"), x, b.add(ops.Unary("tanh"), b.add(ops.Unary("softplus"), x)))


def clip(b: Builder, node: Source) -> str:
    x = node.input(0)
    if node.version < 11:
        return b.add(ops.Unary("clip", (node.real("min", -np.inf), node.real("max", np.inf))), x)
    low, high = node.optional(1), node.optional(2)
    if all(bound is None or bound in b.constants for bound in (low, high)):
        bounds = [_bound(b, bound, open_end) for bound, open_end in ((low, -np.inf), (high, np.inf))]
        return b.add(ops.Unary("clip", tuple(bounds)), x)
    if low is not None:
        x = b.add(ops.Binary("max"), x, low)
    return x if high is None else b.add(ops.Binary("min"), x, high)


def _bound(b: Builder, name: str | None, open_end: float) -> float:
    if name is None:
        return open_end
    values = b.known(name, "bounds")
    if values.size != 1:
        raise GraphError(f"expected a bound that is one number, got {b.types[name]}")
    return values.item()  # type: ignore[no-any-return]


def binary(b: Builder, node: Source) -> str:
    return b.add(ops.Binary(BINARY[node.operator]), node.input(0), node.input(1))


def modulo(b: Builder, node: Source) -> str:
    return b.add(ops.Binary("fmod" if node.integer("fmod", 0) else "mod"), node.input(0), node.input(1))


def power(b: Builder, node: Source) -> str:
    base, exponent = node.input(0), node.input(1)
    told = b.types[base].dtype
    if b.types[exponent].dtype == told:
        return b.add(ops.Binary("pow"), base, exponent)
    floats = [name if b.types[name].dtype == "float32" else b.add(ops.Cast("float32"), name) for name in (base, exponent)]
    raised = b.add(ops.Binary("pow"), *floats)
    return raised if told == "float32" else b.add(ops.Cast(told), raised)


def variadic(b: Builder, node: Source) -> str:
    total = node.input(0)
    for index in range(1, len(node.inputs)):
        total = b.add(ops.Binary(VARIADIC[node.operator]), total, node.input(index))
    if node.operator == "Mean":
        total = b.add(ops.Binary("div"), total, b.scalar(len(node.inputs)))
    return total


def prelu(b: Builder, node: Source) -> str:
    x, slope = b.types[node.input(0)], b.types[node.input(1)]
    if slope.rank > x.rank or np.broadcast_shapes(x.shape, slope.shape) != x.shape:
        raise GraphError(f"expected a slope that can be broadcast to {x}, got {slope}")
    return b.add(ops.Binary("prelu"), node.input(0), node.input(1))


def where(b: Builder, node: Source) -> str:
    return b.add(ops.Where(), node.input(0), node.input(1), node.input(2))


def cast(b: Builder, node: Source) -> str:
    return _as(b, node.input(0), node.dtype("to"))


def cast_like(b: Builder, node: Source) -> str:
    return _as(b, node.input(0), b.types[node.input(1)].dtype)


def _as(b: Builder, x: str, dtype: str) -> str:
    return x if b.types[x] == Type(dtype, b.types[x].shape) else b.add(ops.Cast(dtype), x)


def identity(b: Builder, node: Source) -> str:
    return node.input(0)


def dropout(b: Builder, node: Source) -> list[str]:
    training = node.optional(2)
    if training is not None and b.known(training, "training modes").any():
        raise node.unsupported("training_mode=1")
    return [node.input(0), b.add(ops.Broadcast(b.types[node.input(0)].shape), b.constant(np.array(True), "mask"))]
