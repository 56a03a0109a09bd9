"""A model's graph as its file has it, and as the engine compiled it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devices import ModelInfo
    from devices.native.describe import Compiled
    from devices.native.floats import FloatLayer
    from devices.vpu.describe import Described

GraphNode = dict[str, Any]
"""`op`, `name`, `inputs` (names), `outputs` (name -> dtype and shape in words, empty where unknown); with native `kernels`, None where the
reference does it."""

NATIVE, VPU = "native", "vpu"
TITLES = {NATIVE: "native", "onnxruntime": "ONNX Runtime", VPU: "vpu (emulated)"}
SLOWEST = 5


@dataclass(frozen=True, slots=True)
class Graphs:
    """A model before and after compiling for the engine that the plan chose (`engine`, because `why`), and what native makes of it:
    `native` is None where it lacks something, which `missing` names. `vpu` is there where the model runs on the vpu."""

    model: ModelInfo
    engine: str
    why: str
    before: list[GraphNode]
    after: list[GraphNode]
    native: Compiled | None
    missing: tuple[str, ...]
    vpu: Described | None = None


def graphs(model: ModelInfo, engine: str, why: str) -> Graphs:
    """Compiles the model. Raises EngineError."""
    from devices import onnx_file
    from devices.native.coverage import missing
    from devices.native.describe import describe

    lacking = missing(model.path, dict(model.dims))
    native = None if lacking else describe(model.path, dict(model.dims))
    before = _nodes(onnx_file.read(model.path).model, model)
    vpu = _on_vpu(model) if engine == VPU else None
    after = layers(vpu) if vpu else steps(native) if engine == NATIVE and native is not None else _by_onnxruntime(model)
    return Graphs(model, engine, why, before, after, native, tuple(map(str, lacking)), vpu)


def steps(native: Compiled) -> list[GraphNode]:
    """The steps of native's program as nodes."""
    return [
        {"op": step.op, "name": step.origin, "inputs": list(step.reads), "outputs": dict(step.gives),
         "kernels": None if step.kernels is None else list(step.kernels)}
        for step in native.steps
    ]  # fmt: skip


def _on_vpu(model: ModelInfo) -> Described:
    from devices.vpu.describe import describe
    from devices.vpu.machine import declared

    return describe(model.path, dict(model.dims), declared())


def layers(vpu: Described) -> list[GraphNode]:
    """The layers of the vpu's program as nodes; their kernels are its instructions."""
    return [
        {"op": layer.op, "name": layer.origin, "inputs": list(layer.reads), "outputs": dict(layer.gives),
         "kernels": [f"{count} {kind}" for kind, count in layer.instructions.items()]}
        for layer in vpu.layers
    ]  # fmt: skip


def _by_onnxruntime(model: ModelInfo) -> list[GraphNode]:
    """The nodes that ONNX Runtime runs, after folding, fusing and changing layouts for this processor. Raises EngineError."""
    import onnx

    from devices import EngineError
    from devices.engines.onnxruntime import library

    onnxruntime = library()
    with tempfile.TemporaryDirectory(prefix="ace-graph-") as folder:
        compiled = Path(folder) / "compiled.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(compiled)
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        for name, size in model.dims:
            options.add_free_dimension_override_by_name(name, size)
        try:
            onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineError(f"{model.path}: ONNX Runtime cannot compile it: {error}") from error
        return _nodes(onnx.load(compiled), model)


def _nodes(file: Any, model: ModelInfo) -> list[GraphNode]:
    """The main graph's nodes, with shapes as far as they can be inferred."""
    import onnx

    sizes = dict(model.dims)
    for value in file.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    with suppress(Exception):  # the engine's own operators have no inference: then only what is known already is shown
        file = onnx.shape_inference.infer_shapes(file)
    known = {value.name: _words(value, onnx) for value in (*file.graph.value_info, *file.graph.output)}
    constants = {tensor.name for tensor in file.graph.initializer}
    return [
        {
            "op": node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
            "name": node.name or (node.output[0] if node.output else ""),
            "inputs": [name for name in node.input if name and name not in constants],
            "outputs": {name: known.get(name, "") for name in node.output if name},
        }
        for node in file.graph.node
    ]


def _words(value: Any, onnx: Any) -> str:
    tensor = value.type.tensor_type
    if not tensor.elem_type:
        return ""
    shape = "x".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}[{shape}]"


def document(found: Graphs) -> dict[str, Any]:
    """Plain JSON values."""
    native = found.native
    told: dict[str, Any] = {"missing": list(found.missing)}
    if native is not None:
        told |= {
            "isa": native.isa, "passes": [asdict(each) for each in native.passes], "nodes": steps(native),
            "arena_bytes": native.arena_bytes, "peak_bytes": native.bound_bytes, "data_bytes": native.data_bytes,
            "batches": list(native.batches),
            "float_layers": [{"op": layer.op, "name": layer.origin, "why": layer.why} for layer in native.floats],
            "buffers": [
                {"name": buffer.name, "bytes": buffer.nbytes, "offset": native.offsets[buffer.name], "first": buffer.first,
                 "last": buffer.last}
                for buffer in native.buffers
            ],
        }  # fmt: skip
    model = found.model
    whole = {} if found.vpu is None else {"vpu": vpu_document(found.vpu)}
    return whole | {
        "model": model.name, "version": model.version, "engine": found.engine, "why": found.why, "before": found.before,
        "after": found.after, "native": told,
    }  # fmt: skip


def text(found: Graphs) -> list[str]:
    """Both graphs as lines: how many nodes of which operator, then every node; then what native makes of the model."""
    name = f"{found.model.name}@{found.model.version}"
    lines = [
        f"{name}, {found.model.path.name}: as in the file", *_listed(found.before), "",
        f"{name}: as {TITLES.get(found.engine, found.engine)} compiled it here", *_listed(found.after), "",
        f"{name} runs on {found.engine}" + (f": {found.why}" if found.why else ""),
    ]  # fmt: skip
    if found.vpu is not None:
        return [*lines, "", *vpu_summary(found.vpu)]
    if found.native is None:
        return [*lines, "", f"native lacks {', '.join(found.missing)}"]
    return [*lines, "", *summary(found.native)]


def summary(native: Compiled) -> list[str]:
    """What native makes of the model, in some lines."""
    from flow.plan.text import size

    alone = [step for step in native.steps if step.kernels is None]
    kernels = Counter(kernel for step in native.steps for kernel in step.kernels or ())
    lines = [
        f"native, {native.isa}: {len(native.steps)} steps" + (f", {len(alone)} of them without a kernel" if alone else ""),
        "  fused: " + (", ".join(f"{each.name} {each.before} → {each.after}" for each in native.passes) or "nothing"),
        "  kernels: " + ", ".join(f"{count} {kernel}" for kernel, count in kernels.most_common()),
    ]
    lines += [f"  {line}" for line in in_float(native.floats)]
    if alone:
        lines.append("  without a kernel: " + ", ".join(f"{step.op} ({step.origin})" for step in alone))
    return [
        *lines,
        f"  memory while it runs: {size(native.arena_bytes)} an item; {size(native.bound_bytes)} are alive at once at the most",
        f"  weights and tables: {size(native.data_bytes)}, shared by all workers; for batches of {' or '.join(map(str, native.batches))}",
    ]


def in_float(layers: Sequence[FloatLayer]) -> list[str]:
    """Which layers of a quantized model run in float32, by the reason."""
    lines = []
    for why in dict.fromkeys(layer.why for layer in layers):
        named = ", ".join(f"{layer.op} ({layer.origin})" for layer in layers if layer.why == why)
        lines.append(f"in float32 though the model is quantized: {named}: {why}")
    return lines


def vpu_document(vpu: Described) -> dict[str, Any]:
    """Plain JSON values."""
    machine = vpu.machine
    return {
        "emulated": True, "local_bytes": machine.local_bytes, "macs_per_second": machine.macs_per_second,
        "bytes_per_second": machine.bytes_per_second, "macs": vpu.macs, "moved_bytes": vpu.moved_bytes, "ns": vpu.nanoseconds,
        "data_bytes": vpu.data_bytes, "arena_bytes": vpu.arena_bytes,
        "layers": [
            {"op": layer.op, "name": layer.origin, "macs": layer.macs, "moved_bytes": layer.moved_bytes, "ns": layer.nanoseconds}
            for layer in vpu.layers
        ],
    }  # fmt: skip


def vpu_summary(vpu: Described) -> list[str]:
    """What the vpu's compiler makes of the model, in some lines."""
    from flow.plan.text import size

    counted = Counter[str]()
    for layer in vpu.layers:
        counted.update(layer.instructions)
    slowest = sorted(vpu.layers, key=lambda layer: -layer.nanoseconds)[:SLOWEST]
    return [
        f"vpu, emulated: {len(vpu.layers)} layers; declared: {vpu.machine}",
        "  instructions: " + ", ".join(f"{count} {kind}" for kind, count in counted.most_common()),
        f"  work: {vpu.macs / 1e6:.1f} million multiplications, {size(vpu.moved_bytes)} moved between the memories",
        f"  a run at the declared speed: {vpu.nanoseconds / 1e6:.2f} ms; most of it in "
        + ", ".join(f"{layer.origin} {layer.nanoseconds / 1e6:.2f}" for layer in slowest),
        f"  memory: weights and tables {size(vpu.data_bytes)}, values {size(vpu.arena_bytes)}",
    ]


def _listed(nodes: Sequence[GraphNode]) -> list[str]:
    from flow.cli.table import plain

    counted = ", ".join(f"{number} {op}" for op, number in Counter(node["op"] for node in nodes).most_common())
    compiled = any("kernels" in node for node in nodes)
    rows = [
        [node["op"], *([kernels(node)] if compiled else []), ", ".join(node["inputs"]),
         ", ".join(f"{name} {words}".strip() for name, words in node["outputs"].items())]
        for node in nodes
    ]  # fmt: skip
    head = ("operator", *(("kernels",) if compiled else ()), "reads", "gives")
    return [f"{len(nodes)} nodes: {counted}", "", *(f"  {line}" for line in plain(head, rows))]


def kernels(node: GraphNode) -> str:
    """The kernels of a step, in words."""
    named = node["kernels"]
    return "(reference)" if named is None else ", ".join(named) or "(with the one before)"
