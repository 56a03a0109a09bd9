"""One node of an ONNX file as importers read it: attributes with their types checked, inputs by place."""

from __future__ import annotations

from typing import Any

import numpy as np

from devices.engine import EngineError
from devices.native.ir import GraphError

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool"}
"""Element types of ONNX's TensorProto that the representation has."""


class Unsupported(EngineError):
    """Something that ONNX allows and the native engine does not have; `what` names it as `lacks` does."""

    def __init__(self, what: str, message: str = "") -> None:
        super().__init__(message or f"{what} is not among what the native engine has")
        self.what = what


class Source:
    """A node of the file. `inputs` are values of the graph that is built (None: left out), `version` is that of its operator set."""

    def __init__(self, proto: Any, version: int, inputs: list[str | None], outputs: list[str]) -> None:
        self.operator: str = proto.op_type
        self.domain: str = proto.domain
        self.version = version
        self.inputs = inputs
        self.outputs = outputs
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    @property
    def name(self) -> str:
        """The operator with its domain, as `lacks` names it."""
        return full_name(self.domain, self.operator)

    def has(self, attribute: str) -> bool:
        return attribute in self._attributes

    def integer(self, name: str, default: int) -> int:
        return int(self._typed(name, 2).i) if self.has(name) else default

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        if not self.has(name) and default is not None:
            return default
        return tuple(self._typed(name, 7).ints)

    def real(self, name: str, default: float) -> float:
        return float(self._typed(name, 1).f) if self.has(name) else default

    def reals(self, name: str) -> tuple[float, ...]:
        return tuple(self._typed(name, 6).floats)

    def text(self, name: str, default: str) -> str:
        return str(self._typed(name, 3).s.decode("utf-8", "replace")) if self.has(name) else default

    def tensor(self, name: str) -> Any:
        return self._typed(name, 4).t

    def dtype(self, name: str) -> str:
        number = self.integer(name, 0)
        if number not in DTYPES:
            raise Unsupported(f"{self.name}({name}={number})", f"expected elements of {', '.join(DTYPES.values())}, got ONNX type {number}")
        return DTYPES[number]

    def input(self, index: int) -> str:
        """The value of an input that must be there."""
        name = self.inputs[index] if index < len(self.inputs) else None
        if name is None:
            raise GraphError(f"expected an input {index}, got none")
        return name

    def optional(self, index: int) -> str | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def only_output(self) -> None:
        """Refuses further outputs. Raises Unsupported."""
        if any(self.outputs[1:]):
            raise Unsupported(f"{self.name} with {sum(map(bool, self.outputs))} outputs")

    def unsupported(self, setting: str) -> Unsupported:
        return Unsupported(f"{self.name}({setting})")

    def _typed(self, name: str, kind: int) -> Any:
        attribute = self._attributes.get(name)
        if attribute is None:
            raise GraphError(f"expected an attribute {name!r}, got none")
        if attribute.type != kind:
            raise GraphError(f"attribute {name!r}: expected attribute type {kind}, got {attribute.type}")
        return attribute


def full_name(domain: str, operator: str) -> str:
    """`Conv`, `com.microsoft::QGemm`: how tables and messages name an operator."""
    return operator if domain in ("", "ai.onnx") else f"{domain}::{operator}"


def whole(values: np.ndarray, what: str) -> tuple[int, ...]:
    """The numbers of an integer array of at most one axis. Raises GraphError."""
    if values.dtype.kind not in "iu" or values.ndim > 1:
        raise GraphError(f"{what}: expected a list of whole numbers, got {values.dtype.name}{list(values.shape)}")
    return tuple(int(value) for value in np.atleast_1d(values))


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises GraphError."""
    if not -rank <= axis < rank:
        raise GraphError(f"expected an axis from {-rank} to {rank - 1}, got {axis}")
    return axis % rank


def axes_of(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, each once. Raises GraphError."""
    found = tuple(axis_of(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise GraphError(f"expected each axis once, got {list(axes)}")
    return found
