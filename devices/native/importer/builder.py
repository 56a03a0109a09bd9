"""Builds a graph node by node. What depends on constants alone and is small is computed at once, so that shapes are always known."""

from __future__ import annotations

import numpy as np

from devices.native import operators as ops
from devices.native.importer.node import Unsupported
from devices.native.ir import Graph, GraphError, Node, Op, Quantization, Type
from devices.native.reference import evaluate

FOLDED_BYTES = 2**20
"""A value computed from constants is kept as a constant up to this size; what is larger is for the pass that folds."""
MAX_CONSTANTS = 2**31
"""Bytes of all constants together."""
COSTLY = (
    ops.Conv, ops.ConvTranspose, ops.Dense, ops.MatMul, ops.MaxPool, ops.AveragePool, ops.Resize, ops.QConv, ops.QDense, ops.RealConv,
    ops.RealDense, ops.IntegerConv, ops.IntegerDense,
)  # fmt: skip
"""Never computed while a file is read, so that reading stays quick whatever the file says."""


class Builder:
    """The graph so far. Values are named after those of the file; `shifted` are uint8 values that stand for the file's int8 ones."""

    def __init__(self) -> None:
        self.types: dict[str, Type] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.static: set[str] = set()
        self.shifted: set[str] = set()
        self.origin = self.operator = ""
        self._constant_bytes = 0

    def input(self, name: str, told: Type) -> str:
        name = self._fresh(name)
        self.inputs.append(name)
        self.types[name] = told
        return name

    def constant(self, array: np.ndarray, name: str = "constant", quantization: Quantization | None = None) -> str:
        told = Type(array.dtype.name, array.shape, quantization=quantization)
        return self._keep(array, told, name)

    def scalar(self, value: float, dtype: str = "float32") -> str:
        return self.constant(np.asarray(value, dtype), f"{value:g}")

    def add(self, op: Op, *inputs: str, name: str = "") -> str:
        """The value that the operator gives. Raises GraphError."""
        types = [self.types[item] for item in inputs]
        told = op.infer(*types)
        static = all(item in self.static for item in inputs)
        known = all(item in self.constants for item in inputs)
        small = told.nbytes <= FOLDED_BYTES or isinstance(op, ops.View | ops.FlipSign)
        if known and small and not isinstance(op, (*COSTLY, ops.Dequantize)):
            return self._keep(evaluate(op, types, told, [self.constants[item] for item in inputs]), told, name or "folded")
        output = self._fresh(name or f"{self.origin or 'node'}:{type(op).__name__.lower()}")
        self.nodes.append(Node(op, inputs, output, self.origin))
        self.types[output] = told
        if static:
            self.static.add(output)
        return output

    def known(self, name: str, what: str) -> np.ndarray:
        """The elements of a constant. Raises Unsupported for a value that is only known when the model runs."""
        if name not in self.constants:
            raise Unsupported(
                f"{self.operator} (with {what} that are not constant)",
                f"{what}: expected a constant, got {self.types[name]} that is only known when the model runs",
            )
        return self.constants[name]

    def broadcastable(self, name: str, rank: int) -> str:
        """The value with ones put before its axes up to this rank."""
        told = self.types[name]
        return name if told.rank >= rank else self.add(ops.View((1,) * (rank - told.rank) + told.shape), name)

    def quantized(self, name: str, quantization: Quantization) -> str:
        """The same bytes, read with this quantization."""
        told = self.types[name]
        return name if told.quantization == quantization else self.add(ops.View(told.shape, told.layout, quantization), name)

    def signed(self, name: str) -> str:
        """The value as the file has it: int8 where it was shifted to uint8."""
        return self.add(ops.FlipSign(), name, name=f"{name}:int8") if name in self.shifted else name

    def graph(self, outputs: list[tuple[str, str]]) -> Graph:
        return Graph(tuple(self.inputs), tuple(outputs), tuple(self.nodes), self.types, self.constants)

    def _keep(self, array: np.ndarray, told: Type, name: str) -> str:
        self._constant_bytes += told.nbytes
        if self._constant_bytes > MAX_CONSTANTS:
            raise GraphError(f"expected constants of at most {MAX_CONSTANTS} bytes together, got more")
        name = self._fresh(name)
        array = np.asarray(array)
        held = array.flags.c_contiguous and (array.flags.owndata or not array.flags.writeable)
        self.constants[name] = array if held else np.array(array, order="C")
        self.constants[name].flags.writeable = False
        self.types[name] = told
        self.static.add(name)
        return name

    def _fresh(self, name: str) -> str:
        if name not in self.types:
            return name
        number = len(self.types)
        while f"{name}#{number}" in self.types:
            number += 1
        return f"{name}#{number}"
