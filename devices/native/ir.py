"""The intermediate representation of a model: a graph of frozen operators over named values, each value with a full type.

Static single assignment: a value is defined once, as an input, a constant or the output of one node, and never changes. A graph is an
immutable value with a digest; a pass takes one and gives another.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np

Layout = Literal["nchw", "nhwc"]

DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float32")
MAX_BYTES = 2**28
"""Bytes of one value; a larger one is refused before memory is asked for."""
MAX_RANK = 8


class GraphError(ValueError):
    """A type, operator or graph that makes no sense: says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = (stored - zero) * scale. One scale and zero point, or one for each index of `axis`. Scales are float32 values."""

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.zeros) or not self.scales:
            raise GraphError(f"expected as many zero points as scales, got {len(self.scales)} scales and {len(self.zeros)} zero points")
        if self.axis is None and len(self.scales) != 1:
            raise GraphError(f"expected one scale without an axis, got {len(self.scales)}")
        bad = next((scale for scale in self.scales if not (math.isfinite(scale) and scale > 0)), None)
        if bad is not None:
            raise GraphError(f"expected scales that are finite and above 0, got {bad}")

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that has one."""
        return np.float32(self.scales[0])

    @property
    def zero(self) -> int:
        """The zero point of a tensor that has one."""
        return self.zeros[0]

    def __str__(self) -> str:
        if self.axis is None:
            return f"scale {self.scales[0]:g} zero {self.zeros[0]}"
        return f"{len(self.scales)} scales along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Type:
    """Everything known of a value before it exists. `shape` is the order in memory.

    `layout` names where operators that have channels find them: `nchw` second (also what everything else carries), `nhwc` last.
    """

    dtype: str
    shape: tuple[int, ...]
    layout: Layout = "nchw"
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise GraphError(f"expected elements of {', '.join(DTYPES)}, got {self.dtype}")
        if len(self.shape) > MAX_RANK or any(size < 0 for size in self.shape):
            raise GraphError(f"expected at most {MAX_RANK} dimensions of at least 0, got {list(self.shape)}")
        if self.nbytes > MAX_BYTES:
            raise GraphError(f"expected at most {MAX_BYTES} bytes, got {self.nbytes} ({self})")
        if self.quantization is not None and self.quantization.axis is not None:
            axis, count = self.quantization.axis, len(self.quantization.scales)
            if not 0 <= axis < len(self.shape) or self.shape[axis] != count:
                raise GraphError(f"expected a scale for each index of axis {axis} of {list(self.shape)}, got {count}")

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def channel_axis(self) -> int:
        return 1 if self.layout == "nchw" else self.rank - 1

    @property
    def channels(self) -> int:
        return self.shape[self.channel_axis]

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sizes of the axes that are neither batch nor channels."""
        return self.shape[2:] if self.layout == "nchw" else self.shape[1:-1]

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        return tuple(range(2, self.rank)) if self.layout == "nchw" else tuple(range(1, self.rank - 1))

    def image(self, channels: int, spatial: Sequence[int]) -> Type:
        """The type of the same dtype, batch and layout with other channels and sizes, without quantization."""
        shape = (self.shape[0], channels, *spatial) if self.layout == "nchw" else (self.shape[0], *spatial, channels)
        return Type(self.dtype, shape, self.layout)

    def shaped(self, shape: Iterable[int]) -> Type:
        return replace(self, shape=tuple(shape))

    def plain(self, dtype: str | None = None) -> Type:
        """This type without quantization, and with this dtype if one is given."""
        return replace(self, dtype=dtype or self.dtype, quantization=None)

    def __str__(self) -> str:
        text = f"{self.dtype}[{'x'.join(map(str, self.shape))}]"
        text += " nhwc" if self.layout == "nhwc" else ""
        return text + (f" ({self.quantization})" if self.quantization else "")


@dataclass(frozen=True, slots=True)
class Op(ABC):
    """What a node computes. A subclass holds its parameters; `infer` is where they and the types of the inputs are checked."""

    in_place: ClassVar[tuple[int, ...]] = ()
    """Inputs over which the output may be written: each of its elements depends on no other element of them than the one at its place."""

    @abstractmethod
    def infer(self, *inputs: Type) -> Type:
        """The output's type. Raises GraphError."""

    def moved(self, perm: tuple[int, ...]) -> Op | None:
        """The operator that does the same to a first input stored with its axes in the order `perm`; None where there is none."""
        return None

    def rebatched(self, batch: int) -> Op:
        """The operator for `batch` times as many items along the first axis."""
        return self


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `origin` names the model file's node that it came from."""

    op: Op
    inputs: tuple[str, ...]
    output: str
    origin: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.output} = {self.op}({', '.join(self.inputs)})"


@dataclass(frozen=True, slots=True)
class Graph:
    """`inputs` are values, `outputs` pairs of public name and value; nodes stand in an order in which they can run.

    `types` has every value's type, `constants` (read-only arrays) those that are known. `batch` are the inputs whose first axis is an
    open batch of items that do not touch each other; all types say 1 for it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, Type]
    constants: Mapping[str, np.ndarray]
    batch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", MappingProxyType(dict(self.types)))
        for array in self.constants.values():
            array.flags.writeable = False
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))

    @property
    def digest(self) -> str:
        """sha256 (hex) of everything that decides what the graph computes."""
        total = hashlib.sha256()
        for part in _parts(self):
            total.update(len(part).to_bytes(8, "little") + part)
        return total.hexdigest()

    def uses(self) -> dict[str, list[Node]]:
        """The nodes that read each value (once for each time they do), by name."""
        readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    def producers(self) -> dict[str, Node]:
        return {node.output: node for node in self.nodes}

    def __str__(self) -> str:
        lines = [f"input {name}: {self.types[name]}" for name in self.inputs]
        lines += [f"{node}: {self.types[node.output]}" for node in self.nodes]
        return "\n".join([*lines, *(f"output {name} = {value}" for name, value in self.outputs)])


def verify(graph: Graph) -> None:
    """Checks that every value is defined once and before it is used, and has the type that its operator gives it. Raises GraphError."""
    defined: set[str] = set()
    for name in (*graph.inputs, *graph.constants):
        if name in defined:
            raise GraphError(f"value {name!r}: expected one definition, got two")
        _type_of(graph, name)
        defined.add(name)
    for name, array in graph.constants.items():
        told = graph.types[name]
        if (array.dtype.name, array.shape) != (told.dtype, told.shape):
            raise GraphError(f"constant {name!r}: expected {told}, got {array.dtype.name}{list(array.shape)}")
    for node in graph.nodes:
        for name in node.inputs:
            if name not in defined:
                raise GraphError(f"node {node}: expected {name!r} to be defined before it, got none")
        if node.output in defined:
            raise GraphError(f"value {node.output!r}: expected one definition, got two")
        told, inferred = _type_of(graph, node.output), node.op.infer(*(graph.types[name] for name in node.inputs))
        if told != inferred:
            raise GraphError(f"node {node}: expected the type {inferred}, got {told}")
        defined.add(node.output)
    for public, name in graph.outputs:
        if name not in defined:
            raise GraphError(f"output {public!r}: expected value {name!r} to be defined, got none")


def _type_of(graph: Graph, name: str) -> Type:
    if name not in graph.types:
        raise GraphError(f"value {name!r}: expected a type, got none")
    return graph.types[name]


def _parts(graph: Graph) -> Iterator[bytes]:
    """The graph with values numbered in the order of their definition, so that internal names do not count."""
    number: dict[str, int] = {}
    for name in graph.inputs:
        number[name] = len(number)
        yield f"input {name} {graph.types[name]!r}".encode()
    for node in graph.nodes:
        for name in node.inputs:
            if name not in number:
                number[name] = len(number)
                yield repr(graph.types[name]).encode()
                yield np.ascontiguousarray(graph.constants[name]).tobytes()
        number[node.output] = len(number)
        yield f"{node.op!r} {[number[name] for name in node.inputs]} {graph.types[node.output]!r}".encode()
    for public, name in graph.outputs:
        if name not in number:
            number[name] = len(number)
            yield np.ascontiguousarray(graph.constants[name]).tobytes()
        yield f"output {public} {number[name]}".encode()
    yield f"batch {[number[name] for name in graph.batch]}".encode()
