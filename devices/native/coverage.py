"""What the native engine lacks of a model: operators by ONNX name, domain, operator set and node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices import onnx_file
from devices.native.importer import Unsupported, lacking, read_graph
from devices.native.importer.node import full_name
from devices.onnx_file import OnnxFile


@dataclass(frozen=True, slots=True)
class Missing:
    """An operator, or a variant of one (`Resize(mode=cubic)`), and the first node that wants it."""

    operator: str
    domain: str
    version: int
    node: str

    def __str__(self) -> str:
        return f"{self.operator} ({self.domain} {self.version}, node {self.node!r})"


def missing(path: Path, dims: Mapping[str, int]) -> tuple[Missing, ...]:
    """What the engine lacks of a model with `dims` put for its open dimensions; empty: it covers the model wholly.

    Operators that it has not at all are all told; of variants the first one. Raises EngineError for a damaged file.
    """
    file = onnx_file.read(path)
    if operators := lacking(file):
        return tuple(_at(file, name) for name in operators)
    try:
        read_graph(file, dims)
    except Unsupported as error:
        found = _at(file, error.what.partition("(")[0].partition(" with ")[0])
        said = str(error).partition("node ")[2]
        label = said[1:].partition(said[:1])[0] if said else found.node
        return (Missing(error.what, found.domain, found.version, label),)
    return ()


def _at(file: OnnxFile, name: str) -> Missing:
    """The first node of an operator as `lacking` names it: with its domain, and its operator set where that is why."""
    plain = name.partition(" (operator set ")[0]
    versions = {entry.domain or "ai.onnx": entry.version for entry in file.model.opset_import}
    for node in file.nodes():
        if full_name(node.domain, node.op_type) == plain:
            domain = node.domain or "ai.onnx"
            return Missing(node.op_type, domain, versions.get(domain, 1), node.name or (node.output[0] if node.output else ""))
    return Missing(name, "ai.onnx", versions.get("ai.onnx", 1), "")
