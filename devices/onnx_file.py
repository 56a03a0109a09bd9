"""Safe reading of an ONNX file: bounded, and with no tensor data taken from outside the model's folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from devices.engine import EngineError

MAX_BYTES = 2**31 - 1
"""What protobuf can hold in one message; a larger model keeps its tensors in external data files."""

BITS = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8, "FLOAT16": 16, "DOUBLE": 64,
    "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16, "UINT4": 4, "INT4": 4,
}  # fmt: skip

MISTAKEN = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"PK\x03\x04": "a zip archive, as PyTorch writes them: export the model with torch.onnx.export",
    b"<!DOCTYPE": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A parsed file. `model` is the onnx ModelProto, `external` the files that hold tensors outside it, `digest` covers all of them."""

    path: Path
    model: Any
    digest: str
    external: tuple[Path, ...] = ()

    def nodes(self) -> Iterator[Any]:
        """Every node, those of subgraphs and functions included."""
        for graph in _graphs(self.model):
            yield from graph.node


def read(path: Path) -> OnnxFile:
    """Reads and checks an ONNX file. Raises EngineError when it is missing, unreadable, empty, larger than 2 GiB, truncated, no ONNX model,
    or when its external data leaves its folder, is missing or too short."""
    data = _bytes(path)
    model = _parse(path, data)
    _check_text(path, model)
    files = _external_files(path, model)
    return OnnxFile(path, model, _digest(hashlib.sha256(data).hexdigest(), files), tuple(files.values()))


def digest(path: Path) -> str:
    """sha256 (hex) of a model's content: of the file alone, or of the file and all its external data. Raises EngineError."""
    return read(path).digest


def file_digest(path: Path) -> str:
    """sha256 (hex) of one file's bytes. Raises EngineError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineError(f"{path}: expected a readable file, got: {error.strerror}") from error


def _bytes(path: Path) -> bytes:
    try:
        if not path.exists():
            raise EngineError(f"{path}: expected an ONNX file, got nothing at this path; check the path, it is relative to its manifest")
        if not path.is_file():
            raise EngineError(f"{path}: expected an ONNX file, got {'a folder' if path.is_dir() else 'no regular file'}")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise EngineError(
                f"{path}: expected at most {MAX_BYTES} bytes, got {size}; keep the tensors in an external data file "
                "(onnx.save with save_as_external_data=True)"
            )
        with path.open("rb") as file:
            data = file.read(size)
    except OSError as error:
        raise EngineError(f"{path}: expected a readable ONNX file, got: {error.strerror}; check its permissions") from error
    if not data:
        raise EngineError(f"{path}: expected an ONNX file, got an empty file; copy or download it again")
    return data


def _parse(path: Path, data: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    mistaken = next((what for magic, what in MISTAKEN.items() if data.startswith(magic)), None)
    if data[4:8] == b"TFL3":
        mistaken = "a TensorFlow Lite model: convert it with tf2onnx"
    if mistaken:
        raise EngineError(f"{path}: expected an ONNX model, got {mistaken}")
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise EngineError(
            f"{path}: expected an ONNX model, got {len(data)} bytes that do not decode; the file is truncated, damaged or of another format"
        ) from error
    if not model.HasField("graph") or not model.ir_version:
        raise EngineError(f"{path}: expected an ONNX model, got {len(data)} bytes without a graph; is it a file of another format?")
    if not model.opset_import:
        raise EngineError(f"{path}: expected an operator set version, got none; the file is truncated or was written wrongly")
    if not model.graph.node or not model.graph.output:
        raise EngineError(f"{path}: expected a graph with operators and outputs, got an empty one; export the model again")
    return model


def _check_text(path: Path, model: Any) -> None:
    """Names must be text: protobuf hands over strings that are no UTF-8 as bytes."""
    values = (*model.graph.input, *model.graph.output)
    texts = [value.name for value in values] + [entry.domain for entry in model.opset_import]
    texts += [dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim]
    for graph in _graphs(model):
        texts += [text for node in graph.node for text in (node.op_type, node.domain)]
    for tensor in _tensors(model):
        texts += [tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value))]
    for text in texts:
        if not isinstance(text, str):
            raise EngineError(f"{path}: expected names in UTF-8, got {text[:40]!r}; the file is damaged: copy it again")


def _graphs(model: Any) -> Iterator[Any]:
    """The main graph, subgraphs of attributes, training graphs and function bodies."""
    waiting = [model.graph, *model.functions]
    for training in model.training_info:
        waiting += [training.initialization, training.algorithm]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        if hasattr(graph, "initializer"):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def _external_files(path: Path, model: Any) -> dict[str, Path]:
    """Location -> file of all external data, each tensor's size checked on the way. Raises EngineError."""
    files: dict[str, Path] = {}
    for tensor in _tensors(model):
        needed = _nbytes(path, tensor)
        if tensor.data_location == tensor.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            location = entries.get("location", "")
            if location not in files:
                files[location] = _inside(path, tensor.name, location)
            _check_span(path, tensor.name, entries, files[location], needed)
        elif needed is not None and tensor.HasField("raw_data") and len(tensor.raw_data) != needed:
            raise EngineError(
                f"{path}: tensor {tensor.name!r}: expected {needed} bytes for shape {list(tensor.dims)}, got {len(tensor.raw_data)}; "
                "the file is damaged"
            )
    return files


def _nbytes(path: Path, tensor: Any) -> int | None:
    """Bytes a tensor of this shape takes; None for element types without a fixed size."""
    if any(size < 0 for size in tensor.dims):
        raise EngineError(f"{path}: tensor {tensor.name!r}: expected sizes of at least 0, got {list(tensor.dims)}; the file is damaged")
    types = type(tensor).DataType
    bits = BITS.get(types.Name(tensor.data_type)) if tensor.data_type in types.values() else None
    return None if bits is None else -(-math.prod(tensor.dims) * bits // 8)


def _inside(path: Path, tensor: str, location: str) -> Path:
    """The external file at this location. It lies, symlinks followed, in the model's folder. Raises EngineError."""
    where = f"{path}: tensor {tensor!r}: external data at {location!r}"
    relative = PurePosixPath(location)
    # ONNX Runtime takes locations that start with `*/` for addresses in its own memory.
    if not location or "\0" in location or "\\" in location or location.startswith("*") or relative.is_absolute() or ".." in relative.parts:
        raise EngineError(f"{where}: expected a file in the model's folder, given relative to it; save the model again beside its data")
    folder = path.parent.resolve()
    try:
        file = (folder / relative).resolve(strict=True)
        regular = file.is_file()
    except (OSError, RuntimeError) as error:
        raise EngineError(f"{where}: expected a file in {folder}, got none; copy it there together with the model") from error
    if not file.is_relative_to(folder):
        raise EngineError(f"{where}: expected a file in {folder}, got a link to {file}, which is outside it")
    if not regular:
        raise EngineError(f"{where}: expected a regular file, got a folder or device")
    return file


def _check_span(path: Path, tensor: str, entries: dict[str, str], file: Path, needed: int | None) -> None:
    numbers = {}
    for key in ("offset", "length"):
        text = entries.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise EngineError(f"{path}: tensor {tensor!r}: expected a whole number as {key} of its external data, got {text!r}")
        numbers[key] = int(text)
    length = numbers["length"] or needed or 0
    if needed is not None and length != needed:
        raise EngineError(f"{path}: tensor {tensor!r}: expected {needed} bytes of external data, got {length}; the file is damaged")
    if numbers["offset"] + length > (size := file.stat().st_size):
        raise EngineError(
            f"{path}: tensor {tensor!r}: expected {file.name} to hold at least {numbers['offset'] + length} bytes, got {size}; "
            "the file is truncated: copy it again"
        )


def _digest(main: str, files: dict[str, Path]) -> str:
    if not files:
        return main
    total = hashlib.sha256(main.encode())
    for location in sorted(files):
        total.update(b"\0" + location.encode() + b"\0" + file_digest(files[location]).encode())
    return total.hexdigest()
