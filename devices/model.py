"""What a model takes and gives: its signature, read from the file, with every dimension known."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices import onnx_file
from devices.engine import Batching, EngineError, ModelInfo
from devices.onnx_file import OnnxFile, digest
from devices.spec import TensorSpec
from manifests.deployment import ResolvedModel
from manifests.schema.model import Batch, Model

__all__ = ["Signature", "digest", "inspect", "model_info"]

MAX_TENSOR = 2**30
"""Bytes of one input or output; more than any camera's picture needs, and small enough to be refused before memory is asked for."""
MAX_DIM = 65536

DTYPES = {
    "FLOAT": "float32", "FLOAT16": "float16", "DOUBLE": "float64", "BOOL": "bool", "UINT8": "uint8", "INT8": "int8", "UINT16": "uint16",
    "INT16": "int16", "UINT32": "uint32", "INT32": "int32", "UINT64": "uint64", "INT64": "int64",
}  # fmt: skip

UNBOUNDED = frozenset({"NonMaxSuppression", "NonZero", "Unique", "Compress", "Loop", "StringSplit"})
"""Operators whose output size depends on the data."""

Declared = tuple[str, tuple[int | str, ...]]
"""dtype name and dimensions; an open dimension by its name, or as `TENSOR:INDEX` where it has none."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A model file's inputs and outputs in order, operator set versions by domain, operators used, values of its symbolic dimensions.

    `batch` is the name of the first dimension of all inputs and outputs, where the file leaves it open and nobody gave it a value.
    """

    path: Path
    digest: str
    inputs: tuple[tuple[str, TensorSpec], ...]
    outputs: tuple[tuple[str, TensorSpec], ...]
    dims: tuple[tuple[str, int], ...]
    opset: tuple[tuple[str, int], ...]
    operators: tuple[str, ...]
    batch: str | None = None

    def as_model(self) -> ModelInfo:
        """The model as engines want it, named after its file."""
        batch = Batching(dimension=self.batch) if self.batch is not None else None
        return ModelInfo(self.path.stem, "", self.path, self.digest, self.inputs, self.outputs, dims=self.dims, batch=batch)


def inspect(path: str | Path, *, dims: Mapping[str, int] | None = None) -> Signature:
    """Reads what an ONNX model takes and gives.

    `dims` gives values to the file's symbolic dimensions, by their name, or as `TENSOR:INDEX` where they have none; an open first
    dimension of a batch is 1 without it. Output shapes come from the file, from ONNX shape inference, or from one run over zeros.
    Raises EngineError for a file that cannot be read, a dimension without a value, and inputs or outputs that are no arrays.
    """
    file = onnx_file.read(Path(path))
    return _sign(file, declared_inputs(file), dims or {})


def model_info(resolved: ResolvedModel) -> ModelInfo:
    """The model that a Model manifest describes: its signature, and how pixels become its input.

    Raises EngineError, also for a graph that makes no sense to any engine of this machine.
    """
    from devices import pixels

    manifest = resolved.manifest
    name = f"model {manifest.name} ({resolved.path.name})"
    file = onnx_file.read(resolved.path)
    _check_graph(file)
    declared = declared_inputs(file)
    dims = dict(manifest.dims)
    place = None
    if manifest.input is not None:
        place = pixels.locate(name, declared, manifest.input)
        dims |= pixels.open_dims(name, declared, manifest.input, place, dims)
    signature = _sign(file, declared, dims)
    picture = None
    if manifest.input is not None and place is not None:
        picture = pixels.pixel_input(name, dict(signature.inputs)[place.tensor], manifest.input, place)
    return ModelInfo(
        manifest.name, manifest.version, resolved.path, signature.digest, signature.inputs, signature.outputs,
        resolved.labels, picture, signature.dims, _batching(name, manifest, signature.batch), manifest.engine,
    )  # fmt: skip


def _batching(name: str, manifest: Model, dimension: str | None) -> Batching | None:
    """What the manifest says of batches, or the default where the file allows them. Raises EngineError where it does not."""
    said = manifest.batch
    if dimension is None:
        if said is None or said.most == 1:
            return None
        raise EngineError(
            f"{name}: batch: expected a file whose inputs and outputs leave their first dimension open, got one that fixes it; "
            "export it with an open batch dimension, or take `batch` away"
        )
    said = said or Batch()
    return Batching(said.most, said.delay_ms, dimension) if said.most > 1 else None


def _check_graph(file: OnnxFile) -> None:
    """A graph that the ONNX checker objects to is shown to the engines: they know operators that it does not, and say what is wrong."""
    from onnx import checker

    try:
        checker.check_model(file.model)
    except Exception:  # the library raises many types
        from devices.session import choose_anywhere

        choose_anywhere(file.path)


def declared_inputs(file: OnnxFile) -> dict[str, Declared]:
    """Inputs as the file declares them, in order, without those that have a value in the file. Raises EngineError."""
    constants = {tensor.name for tensor in file.model.graph.initializer}
    return {value.name: _declared(file, value, "input") for value in file.model.graph.input if value.name not in constants}


def _declared(file: OnnxFile, value: Any, role: str) -> Declared:
    where = f"{file.path}: {role} {value.name!r}"
    if value.type.WhichOneof("value") != "tensor_type":
        raise EngineError(f"{where}: expected a tensor, got {value.type.WhichOneof('value') or 'no type'}; give arrays only")
    tensor = value.type.tensor_type
    import onnx

    types = onnx.TensorProto.DataType
    name = types.Name(tensor.elem_type) if tensor.elem_type in types.values() else str(tensor.elem_type)
    if name not in DTYPES:
        raise EngineError(f"{where}: expected elements of {', '.join(DTYPES.values())}, got {name.lower()}; cast it inside the model")
    if role == "input" and not tensor.HasField("shape"):
        raise EngineError(f"{where}: expected a shape, got none; export the model with the shape of its inputs")
    sizes = tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or f"{value.name}:{index}" for index, dim in enumerate(tensor.shape.dim)
    )
    return DTYPES[name], sizes


def _sign(file: OnnxFile, declared: Mapping[str, Declared], dims: Mapping[str, int]) -> Signature:
    bound = _bind(file.path, declared, dims)
    inputs = tuple((name, _spec(file.path, name, dtype, sizes, bound)) for name, (dtype, sizes) in declared.items())
    operators = tuple(sorted({f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in file.nodes()}))
    named = {name for _, sizes in declared.values() for name in sizes if isinstance(name, str)}
    overrides = tuple(sorted((name, size) for name, size in bound.items() if name in named))
    batch = _open_batch(file, declared, dims)
    outputs = _outputs(file, inputs, overrides, operators)
    opset = tuple(sorted((entry.domain or "ai.onnx", entry.version) for entry in file.model.opset_import))
    return Signature(file.path, file.digest, inputs, outputs, overrides, opset, operators, batch)


def _open_batch(file: OnnxFile, declared: Mapping[str, Declared], dims: Mapping[str, int]) -> str | None:
    """The name of the first dimension of all inputs and outputs, where it is open in the file and in `dims`."""
    tensors = [*declared.values(), *(_declared(file, value, "output") for value in file.model.graph.output)]
    firsts = {sizes[0] if sizes else 1 for _, sizes in tensors}
    name = firsts.pop() if len(firsts) == 1 else 1
    elsewhere = any(name in sizes[1:] for _, sizes in tensors)
    given = any(key == name or key.endswith(":0") for key in dims)
    return name if isinstance(name, str) and ":" not in name and not elsewhere and not given else None


def _bind(path: Path, declared: Mapping[str, Declared], dims: Mapping[str, int]) -> dict[str, int]:
    """A value for every open dimension, by name. Raises EngineError for one without a value, and for names the file does not have."""
    names = [size for _, sizes in declared.values() for size in sizes if isinstance(size, str)]
    at = {f"{tensor}:{index}": size for tensor, (_, sizes) in declared.items() for index, size in enumerate(sizes)}
    bound: dict[str, int] = {}
    for key, value in dims.items():
        name = at.get(key, key)
        if isinstance(name, int):
            raise EngineError(f"{path}: dimension {key!r}: expected an open dimension, got one that the file fixes at {name}")
        if name not in names:
            known = ", ".join(sorted(set(names))) or "no open dimension"
            near = difflib.get_close_matches(key, names, 1)
            raise EngineError(f"{path}: dimension {key!r}: expected {known}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_DIM:
            raise EngineError(f"{path}: dimension {key!r}: expected a whole number from 1 to {MAX_DIM}, got {value!r}")
        if bound.setdefault(name, value) != value:
            raise EngineError(f"{path}: dimension {name!r}: expected one value, got {bound[name]} and {value}")
    for _, sizes in declared.values():
        if sizes and isinstance(sizes[0], str) and (len(sizes) > 1 or sizes[0].lower() in {"batch", "batch_size", "n"}):
            bound.setdefault(sizes[0], 1)
    missing = sorted(set(names) - set(bound))
    if missing:
        example = ", ".join(f"{name!r}: 1" if ":" in name else f"{name}: 1" for name in missing)
        raise EngineError(
            f"{path}: expected a value for {'dimension' if len(missing) == 1 else 'dimensions'} {', '.join(map(repr, missing))}, got none; "
            f"set `dims: {{{example}}}` with the right sizes in the Model manifest"
        )
    return bound


def _spec(path: Path, name: str, dtype: str, sizes: tuple[int | str, ...], bound: Mapping[str, int]) -> TensorSpec:
    spec = TensorSpec(dtype, tuple(size if isinstance(size, int) else bound[size] for size in sizes))
    if not 0 < spec.nbytes <= MAX_TENSOR or max(spec.shape, default=1) > MAX_TENSOR:
        raise EngineError(f"{path}: {name!r}: expected at most {MAX_TENSOR} bytes, got {spec}")
    return spec


def _outputs(
    file: OnnxFile, inputs: tuple[tuple[str, TensorSpec], ...], dims: tuple[tuple[str, int], ...], operators: tuple[str, ...]
) -> tuple[tuple[str, TensorSpec], ...]:
    """Output specs: declared, else inferred, else seen in a run over zeros. Raises EngineError."""
    bound = dict(dims)
    values = list(file.model.graph.output)
    declared = _complete(file, values, bound)
    if declared is None:
        _fix_inputs(file, inputs)
        declared = _complete(file, _inferred(file.model), bound)
    if declared is not None:
        return declared
    from devices.engines.onnxruntime import observe

    unbounded = tuple(sorted(UNBOUNDED & set(operators)))
    seen = observe(file.path, inputs, dims, runs=not unbounded)
    if seen is None:
        raise EngineError(
            f"{file.path}: expected outputs of a fixed size, got sizes that depend on the data ({', '.join(unbounded)}); "
            "export the model without its post-processing and use a decoder operator"
        )
    return tuple((name, _spec(file.path, name, spec.dtype, spec.shape, {})) for name, spec in seen)


def _complete(file: OnnxFile, values: list[Any], bound: Mapping[str, int]) -> tuple[tuple[str, TensorSpec], ...] | None:
    """Specs of these outputs, or None where a dimension is still open."""
    specs = []
    for value in values:
        dtype, sizes = _declared(file, value, "output")
        if not value.type.tensor_type.HasField("shape") or any(isinstance(size, str) and size not in bound for size in sizes):
            return None
        specs.append((value.name, _spec(file.path, value.name, dtype, sizes, bound)))
    return tuple(specs)


def _fix_inputs(file: OnnxFile, inputs: tuple[tuple[str, TensorSpec], ...]) -> None:
    shapes = dict(inputs)
    for value in file.model.graph.input:
        if value.name in shapes:
            for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name].shape, strict=True):
                dim.dim_value = size


def _inferred(model: Any) -> list[Any]:
    from onnx import shape_inference

    try:
        return list(shape_inference.infer_shapes(model, data_prop=True).graph.output)
    except Exception:  # the library raises many types; what it cannot infer is seen in a run
        return list(model.graph.output)
