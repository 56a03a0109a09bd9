"""From a model file to a program: import, open the batch where the model allows it, optimize, lower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devices import onnx_file
from devices.engine import EngineError
from devices.model import declared_inputs
from devices.native.importer import read_graph
from devices.native.ir import Graph, GraphError
from devices.native.lower import Program, lower
from devices.native.passes import optimize
from devices.native.passes.batch import open_batch


def load_graph(path: Path, dims: Mapping[str, int], digest: str = "") -> Graph:
    """The graph as the file has it, with an open batch where the file leaves the first dimension of its inputs open and no operator
    mixes items. Raises EngineError, also for a file that has not the digest that is given."""
    file = onnx_file.read(path)
    if digest and file.digest != digest:
        raise EngineError(f"{path}: expected the model with digest {digest[:12]}…, got another; make the plan again")
    first = {sizes[0] for _, sizes in declared_inputs(file).values() if sizes and isinstance(sizes[0], str)}
    if len(first) == 1:
        name = str(first.pop())
        try:
            opened = open_batch(read_graph(file, {**dims, name: 1}), read_graph(file, {**dims, name: 2}))
        except GraphError:
            opened = None
        if opened is not None:
            return opened
    return read_graph(file, dims)


def compile_model(path: Path, dims: Mapping[str, int], digest: str = "") -> Program:
    """The program of a model file with `dims` put for its open dimensions. Raises EngineError."""
    try:
        return lower(optimize(load_graph(path, dims, digest)))
    except GraphError as error:
        raise EngineError(f"native: {path}: {error}") from error
