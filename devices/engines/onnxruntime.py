"""The engine `onnxruntime`: any ONNX model on the CPU, through Microsoft's ONNX Runtime."""

from __future__ import annotations

import difflib
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np

from devices.engine import EngineError, ModelInfo, Session
from devices.mismatch import other_array, other_names
from devices.spec import TensorSpec

BINDINGS = 64
"""Bindings kept by the addresses of their arrays; slots of a pool come back, and binding one array takes about 6 us."""

MISSING_OPERATOR = (
    re.compile(r"No Op registered for (?P<op>\S+) with domain_version"),
    re.compile(r"(?P<op>[\w.]*:?\w+)\(-?\d+\) is not a registered function/op"),
    re.compile(r"Could not find an implementation for (?P<op>[\w.:]+)\(\d+\)"),
)


class OnnxRuntime:
    """ONNX Runtime's CPU provider. Precision `exact` keeps its 8-bit kernels from saturating on x86 without VNNI (slower there)."""

    name = "onnxruntime"
    device = "cpu"
    precisions: tuple[str, ...] = ("exact",)

    def missing(self) -> str | None:
        try:
            library()
        except ImportError as error:
            return f"the package onnxruntime cannot be imported: {error}"
        return None

    def lacks(self, path: Path) -> tuple[str, ...]:
        options = _options(threads=1)
        options.graph_optimization_level = library().GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            _open(path, options)
        except EngineError as error:
            for pattern in MISSING_OPERATOR:
                if match := pattern.search(str(error)):
                    return (match["op"].removeprefix("ai.onnx:").replace(":", "::"),)
            raise
        return ()

    def load(self, model: ModelInfo, *, threads: int, precision: str = "auto") -> Session:
        if precision not in ("auto", *self.precisions):
            near = difflib.get_close_matches(precision, self.precisions, 1)
            raise EngineError(
                f"{self.name}: precision: expected auto or {', '.join(self.precisions)}, got {precision!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if threads < 1:
            raise EngineError(f"{self.name}: threads: expected at least 1, got {threads}")
        fixed = tuple(pair for pair in model.dims if model.batch is None or pair[0] != model.batch.dimension)
        options = _options(threads=threads, dims=fixed)
        if precision == "exact":
            options.add_session_config_entry("session.x64quantprecision", "1")
        return OnnxRuntimeSession(model, _open(model.path, options))


class OnnxRuntimeSession:
    """A model loaded by ONNX Runtime. Arrays are bound by address, so nothing is copied on the way in or out.

    A model with an open batch (`ModelInfo.batch`) takes any number of items.
    """

    def __init__(self, model: ModelInfo, session: Any) -> None:
        _check_signature(model, session)
        self._name = f"onnxruntime: {model.path.name}"
        self._session = session
        self.batches = model.batch is not None
        self._lock = Lock()
        self._bindings: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._own: dict[int, dict[str, np.ndarray]] = {}
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.outputs))
        self._expected_inputs = [(name, np.dtype(spec.dtype), spec.shape) for name, spec in model.inputs]
        self._expected_outputs = [(name, np.dtype(spec.dtype), spec.shape) for name, spec in model.outputs]

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self._lock:
            if self._session is None:
                raise EngineError(f"{self._name}: expected an open session, got one that was closed")
            items = self._items(inputs)
            taken = self._take(inputs, items)
            given = self._give(outputs, items)
            binding = self._bound(taken, given)
            try:
                self._session.run_with_iobinding(binding)
            except Exception as error:
                self._bindings.clear()
                raise EngineError(f"{self._name}: the run failed: {_reason(error)}") from error
            return given

    def close(self) -> None:
        with self._lock:
            self._bindings.clear()
            self._own.clear()
            self._session = None

    def _items(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many items came where the batch is open; else 0, for the shapes as they are told."""
        if self.batches:
            name, _, shape = self._expected_inputs[0]
            array = inputs.get(name)
            if isinstance(array, np.ndarray) and array.ndim == len(shape) and array.shape[0] > 0:
                return int(array.shape[0])
        return 0

    def _take(self, inputs: Mapping[str, np.ndarray], items: int) -> list[np.ndarray]:
        """The inputs in order, contiguous."""
        if len(inputs) != len(self._expected_inputs):
            raise other_names(self._name, "inputs", inputs, self.inputs)
        taken = []
        for name, dtype, shape in self._expected_inputs:
            if (array := inputs.get(name)) is None:
                raise other_names(self._name, "inputs", inputs, self.inputs)
            shape = (items, *shape[1:]) if items else shape
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
                raise other_array(self._name, f"input {name!r}", array, self.inputs[name])
            taken.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
        return taken

    def _give(self, outputs: Mapping[str, np.ndarray] | None, items: int) -> dict[str, np.ndarray]:
        """The arrays to write to, in order."""
        expected = [(name, dtype, (items, *shape[1:]) if items else shape) for name, dtype, shape in self._expected_outputs]
        if outputs is None:
            if items not in self._own:
                self._own = {items: {name: np.empty(shape, dtype) for name, dtype, shape in expected}}
            return dict(self._own[items])
        if len(outputs) != len(self._expected_outputs):
            raise other_names(self._name, "outputs", outputs, self.outputs)
        given = {}
        for name, dtype, shape in expected:
            if (array := outputs.get(name)) is None:
                raise other_names(self._name, "outputs", outputs, self.outputs)
            if array.dtype != dtype or array.shape != shape:
                raise other_array(self._name, f"output {name!r}", array, self.outputs[name])
            flags = array.flags
            if not (flags.c_contiguous and flags.writeable):
                raise EngineError(f"{self._name}: output {name!r}: expected contiguous memory that can be written, got other")
            given[name] = array
        return given

    def _bound(self, taken: list[np.ndarray], given: Mapping[str, np.ndarray]) -> Any:
        """The binding for arrays at these addresses; kept, as it holds addresses and no memory."""
        addresses = [array.__array_interface__["data"][0] for array in (*taken, *given.values())]
        key = (len(taken[0]), *addresses) if self.batches else tuple(addresses)
        binding = self._bindings.get(key)
        if binding is None:
            binding = self._session.io_binding()
            for (name, dtype, _), array, address in zip(self._expected_inputs, taken, addresses, strict=False):
                binding.bind_input(name, "cpu", 0, dtype.type, array.shape, address)
            for (name, array), address in zip(given.items(), addresses[len(taken) :], strict=True):
                binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, address)
            self._bindings[key] = binding
            if len(self._bindings) > BINDINGS:
                self._bindings.popitem(last=False)
        return binding


def observe(
    path: Path, inputs: tuple[tuple[str, TensorSpec], ...], dims: tuple[tuple[str, int], ...], *, runs: bool
) -> tuple[tuple[str, TensorSpec], ...] | None:
    """Output specs as ONNX Runtime infers them, or else (with `runs`) as one run over zeros gives them; None where neither tells.

    Raises EngineError for a model that ONNX Runtime cannot load or run.
    """
    session = _open(path, _options(threads=1, dims=dims))
    told = session.get_outputs()
    if all(isinstance(size, int) for output in told for size in output.shape):
        return tuple((output.name, TensorSpec(_dtype(output.type), tuple(output.shape))) for output in told)
    if not runs:
        return None
    try:
        seen = session.run(None, {name: np.zeros(spec.shape, spec.dtype) for name, spec in inputs})
    except Exception as error:
        raise EngineError(f"{path}: the shapes of its outputs are open, and a run over zeros failed: {_reason(error)}") from error
    return tuple((output.name, TensorSpec(array.dtype.name, array.shape)) for output, array in zip(told, seen, strict=True))


def library() -> Any:
    """The package, which sends nobody anything: left alone it begins a file in the folder for temporary files as it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _options(*, threads: int, dims: tuple[tuple[str, int], ...] = ()) -> Any:
    options = library().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    for name, size in dims:
        options.add_free_dimension_override_by_name(name, size)
    return options


def _open(path: Path, options: Any) -> Any:
    try:
        # With its fallback the library prints to standard output and tries the same again.
        return library().InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise EngineError(f"onnxruntime: {path}: expected a model it can load, got: {_reason(error)}") from error


def _check_signature(model: ModelInfo, session: Any) -> None:
    """The file must still be what the plan was made from. Raises EngineError."""
    for role, expected, told in (("inputs", model.inputs, session.get_inputs()), ("outputs", model.outputs, session.get_outputs())):
        got = [(value.name, _dtype(value.type), value.shape) for value in told]
        same = len(got) == len(expected) and all(
            name == spec_name and dtype == spec.dtype and _fits(shape, spec.shape)
            for (name, dtype, shape), (spec_name, spec) in zip(got, expected, strict=False)
        )
        if not same:
            wanted = ", ".join(f"{name}: {spec}" for name, spec in expected)
            seen = ", ".join(f"{name}: {dtype}{shape}" for name, dtype, shape in got)
            raise EngineError(f"onnxruntime: {model.path}: {role}: expected {{{wanted}}}, got {{{seen}}}; export the model again")


def _fits(told: list[int | str | None], shape: tuple[int, ...]) -> bool:
    """Whether a shape as ONNX Runtime tells it, names and None for open sizes, allows this one."""
    return len(told) == len(shape) and all(not isinstance(a, int) or a == b for a, b in zip(told, shape, strict=True))


def _dtype(type_name: str) -> str:
    """`tensor(float)` -> `float32`."""
    name = type_name.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _reason(error: Exception) -> str:
    """The library's message without its own source positions."""
    text = re.split(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", " ".join(str(error).split()))[-1]
    text = re.sub(r"/onnxruntime_src/\S+ ", "", text)
    return text if len(text) <= 300 else text[:300] + " …"


ENGINE = OnnxRuntime()
