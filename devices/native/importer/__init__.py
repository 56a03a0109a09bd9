"""ONNX -> intermediate representation. Everything in the file is checked on the way; a file is never trusted."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from devices import onnx_file
from devices.engine import EngineError
from devices.model import declared_inputs
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source, Unsupported, full_name
from devices.native.importer.table import OPERATORS
from devices.native.ir import Graph, GraphError, Type
from devices.onnx_file import OnnxFile

__all__ = ["Unsupported", "import_model", "lacks"]

MAX_NODES = 20_000


def import_model(path: Path, dims: Mapping[str, int] | None = None) -> Graph:
    """The graph of an ONNX file with `dims` put for its open dimensions (by name, or as `INPUT:INDEX` where they have none).

    Raises EngineError, with file and node, for a file that is damaged or makes no sense, for a value larger than `ir.MAX_BYTES`, for a
    dimension without a value, and Unsupported for an operator or a variant of one that the engine does not have. Takes no more memory
    than the file, its tensors and `builder.MAX_CONSTANTS` together.
    """
    return read_graph(onnx_file.read(path), dims or {})


def lacks(path: Path) -> tuple[str, ...]:
    """Operators, and variants of operators, of the file that the engine does not have. Raises EngineError for a file that is damaged.

    Where dimensions are open, variants are looked for with 64 in their place.
    """
    file = onnx_file.read(path)
    if missing := lacking(file):
        return missing
    names = {size for _, sizes in declared_inputs(file).values() for size in sizes if isinstance(size, str)}
    try:
        read_graph(file, dict.fromkeys(names, 64))
    except Unsupported as error:
        return (error.what,)
    except EngineError:
        if not names:
            raise
    return ()


def lacking(file: OnnxFile) -> tuple[str, ...]:
    """Operators that are not in the table, with their version where that is why."""
    versions = _versions(file)
    found: dict[str, None] = {}
    for node in file.nodes():
        name = full_name(node.domain, node.op_type)
        claim = OPERATORS.get(name)
        version = versions.get(_domain(node.domain), 1)
        if claim is None:
            found[name] = None
        elif not claim.first <= version <= claim.last:
            found[f"{name} (operator set {version})"] = None
    return tuple(found)


def read_graph(file: OnnxFile, dims: Mapping[str, int]) -> Graph:
    """The graph of a file that was read. Raises EngineError."""
    reader = _Reader(file)
    if missing := lacking(file):
        raise Unsupported(missing[0], f"native: {file.path}: the engine lacks {', '.join(missing)}")
    reader.declare(dims)
    for proto in _in_order(file, set(reader.values) | set(reader.initializers)):
        reader.take(proto)
    return reader.finish()


class _Reader:
    """Reads one file into a builder. `values` has the graph's value for each name of the file."""

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.versions = _versions(file)
        self.builder = Builder()
        self.values: dict[str, str] = {}
        self.initializers = {tensor.name: tensor for tensor in file.model.graph.initializer}

    def declare(self, dims: Mapping[str, int]) -> None:
        for name, (dtype, sizes) in declared_inputs(self.file).items():
            bound = tuple(size if isinstance(size, int) else self._bound(name, size, dims) for size in sizes)
            with _At(self.file.path, f"input {name!r}"):
                self.values[name] = self.builder.input(name, Type(dtype, bound))

    def take(self, proto: Any) -> None:
        operator = full_name(proto.domain, proto.op_type)
        claim, label = OPERATORS[operator], proto.name or (proto.output[0] if proto.output else "")
        with _At(self.file.path, f"node {label!r} ({operator})"):
            self.builder.origin, self.builder.operator = label, operator
            inputs = [self._value(name) if name else None for name in proto.input]
            results = self._read(proto, inputs) if claim.reads else self._moved(proto, inputs) if claim.moves else None
            if results is None:
                results = self._read(proto, [name if name is None else self.builder.signed(name) for name in inputs])
            self.values |= {name: value for name, value in zip(proto.output, results, strict=False) if name}

    def _read(self, proto: Any, inputs: list[str | None]) -> list[str]:
        version = self.versions.get(_domain(proto.domain), 1)
        claim = OPERATORS[full_name(proto.domain, proto.op_type)]
        result = claim.read(self.builder, Source(proto, version, inputs, list(proto.output)))
        return result if isinstance(result, list) else [result]

    def _moved(self, proto: Any, inputs: list[str | None]) -> list[str] | None:
        """The results of an operator that only moves elements, int8 ones moved as the uint8 ones that stand for them. None where they
        cannot be: not all of its values are such, or the result has another quantization."""
        b = self.builder
        shifted = [name in b.shifted for name in inputs if name is not None]
        if proto.op_type == "Concat" and any(shifted) and not all(shifted):
            return None
        results = self._read(proto, inputs)
        if not shifted or not shifted[0] or inputs[0] is None:
            return results
        given = b.types[inputs[0]]
        if any((b.types[value].dtype, b.types[value].quantization) != (given.dtype, given.quantization) for value in results):
            return None
        b.shifted.update(results)
        return results

    def finish(self) -> Graph:
        outputs = []
        for value in self.file.model.graph.output:
            with _At(self.file.path, f"output {value.name!r}"):
                outputs.append((value.name, self.builder.signed(self._value(value.name))))
        if len({name for name, _ in outputs}) != len(outputs):
            raise EngineError(f"native: {self.file.path}: expected outputs with names of their own, got {[name for name, _ in outputs]}")
        return self.builder.graph(outputs)

    def _value(self, name: str) -> str:
        if name not in self.values:
            if name not in self.initializers:
                near = difflib.get_close_matches(name, [*self.values, *self.initializers], 1)
                raise GraphError(
                    f"expected a value {name!r}, got no input, initializer or node that gives it"
                    + (f"; did you mean {near[0]!r}?" if near else "")
                )
            self.values[name] = self.builder.constant(self._tensor(self.initializers[name]), name)
        return self.values[name]

    def _tensor(self, proto: Any) -> np.ndarray:
        from onnx import numpy_helper

        try:
            return numpy_helper.to_array(proto, base_dir=str(self.file.path.parent))  # type: ignore[no-any-return]
        except Exception as error:  # the library raises many types
            raise GraphError(f"initializer {proto.name!r}: expected data that fit its shape, got: {' '.join(str(error).split())}") from None

    def _bound(self, tensor: str, name: str, dims: Mapping[str, int]) -> int:
        size = dims.get(name)
        if size is None:
            raise EngineError(
                f"native: {self.file.path}: input {tensor!r}: expected a value for dimension {name!r}, got none; "
                f"set `dims: {{{name!r}: 1}}` with the right size in the Model manifest"
            )
        return size


class _At:
    """Turns what goes wrong inside into one EngineError that says where."""

    def __init__(self, path: Path, where: str) -> None:
        self._where = f"native: {path}: {where}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        match error:
            case Unsupported():
                raise Unsupported(error.what, f"{self._where}: {error}") from None
            case GraphError():
                raise EngineError(f"{self._where}: {error}") from None
            case ArithmeticError() | LookupError() | TypeError() | ValueError() | MemoryError():
                # A setting that no check foresaw: the arithmetic on it fails before anything is computed with it.
                raise EngineError(f"{self._where}: expected settings that make sense, got: {type(error).__name__}: {error}") from error
            case _:
                return


def _in_order(file: OnnxFile, given: set[str]) -> list[Any]:
    """Nodes in an order in which each finds its inputs (Kahn, Topological sorting of large networks, 1962). Raises EngineError."""
    nodes = list(file.model.graph.node)
    if len(nodes) > MAX_NODES:
        raise EngineError(f"native: {file.path}: expected at most {MAX_NODES} nodes, got {len(nodes)}")
    giver: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if name and (name in giver or name in given):
                raise EngineError(f"native: {file.path}: value {name!r}: expected one node that gives it, got another one")
            giver[name] = index
    giver.pop("", None)
    needs = [{giver[name] for name in node.input if name in giver} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for index, wanted in enumerate(needs):
        for other in wanted:
            users[other].append(index)
    waiting = Counter({index: len(wanted) for index, wanted in enumerate(needs)})
    ready = [index for index in range(len(nodes) - 1, -1, -1) if not needs[index]]
    order: list[Any] = []
    while ready:
        index = ready.pop()
        order.append(nodes[index])
        for user in reversed(users[index]):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    if len(order) < len(nodes):
        stuck = next(nodes[index] for index in range(len(nodes)) if waiting[index] > 0)
        raise EngineError(
            f"native: {file.path}: node {stuck.name or stuck.output[0]!r} ({stuck.op_type}): expected a graph without cycles, "
            "got a node that waits for its own result"
        )
    return order


def _versions(file: OnnxFile) -> dict[str, int]:
    return {_domain(entry.domain): entry.version for entry in file.model.opset_import}


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
