"""Steps that no kernel does, as plain JSON values and back: what the reference computes is an operator, types, and where operands lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from devices.native import operators
from devices.native.ir import Op, Quantization, Type
from devices.native.operators.spatial import Window
from devices.native.reference import evaluate

KNOWN: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (*vars(operators).values(), Quantization, Type, Window)
    if isinstance(kind, type) and (issubclass(kind, Op) or kind in (Quantization, Type, Window)) and kind is not Op
}
KIND = "is"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operand lies: a region of `image.REGIONS`, the number of the caller's array (0 elsewhere), a byte offset."""

    region: int
    number: int
    offset: int
    type: Type
    stride: int


@dataclass(frozen=True, slots=True)
class Interpreted:
    """One operation that the reference does."""

    op: Op
    inputs: tuple[Place, ...]
    output: Place

    def run(self, inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        """Reads and writes arrays of the operands' types, whose rows lie as the operands say."""
        whole = [np.asarray(array, order="C") for array in inputs]
        np.copyto(output, evaluate(self.op, [place.type for place in self.inputs], self.output.type, whole).reshape(output.shape))


def plain(value: Any) -> Any:
    """An operator, type or place as JSON has it."""
    if is_dataclass(value):
        return {KIND: type(value).__name__} | {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def interpreted(told: Any) -> Interpreted:
    """The step that `plain` told. Raises ValueError for what is none, or makes no sense."""
    if not isinstance(told, dict) or told.get(KIND) != Interpreted.__name__:
        raise ValueError(f"expected a step, got {str(told)[:80]}")
    try:
        step = Interpreted(_made(told["op"]), tuple(map(_place, told["inputs"])), _place(told["output"]))
        inferred = step.op.infer(*(place.type for place in step.inputs))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"expected a step that makes sense, got {type(error).__name__}: {error}") from None
    if (inferred.dtype, inferred.shape) != (step.output.type.dtype, step.output.type.shape):
        raise ValueError(f"expected {step.op} to give {inferred}, got {step.output.type}")
    return step


def _place(told: Mapping[str, Any]) -> Place:
    region, number, offset, stride = (told[name] for name in ("region", "number", "offset", "stride"))
    if not all(type(value) is int and value >= 0 for value in (region, number, offset, stride)):
        raise ValueError(f"expected a place of whole numbers, got {str(told)[:80]}")
    found = _made(told["type"])
    if not isinstance(found, Type):
        raise ValueError(f"expected a type, got {found}")
    return Place(region, number, offset, found, stride)


def _made(told: Any) -> Any:
    if isinstance(told, list):
        return tuple(map(_made, told))
    if not isinstance(told, dict):
        return told
    return KNOWN[told[KIND]](**{name: _made(value) for name, value in told.items() if name != KIND})
