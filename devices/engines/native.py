"""The engine `native`: models compiled by ACE itself, run on the CPU. It runs a model only where it is asked for by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from devices.engine import EngineError, ModelInfo, Session
from devices.mismatch import other_array, other_names
from devices.spec import TensorSpec

if TYPE_CHECKING:
    from devices.native.crew import Crew
    from devices.native.execute import Executor
    from devices.native.lower import Program
    from devices.native.machine import Machine

BATCHES = 8
"""Batch sizes whose memory is kept."""


class Native:
    """ACE's own compiler and kernels. 8-bit results are exact: the same as ONNX Runtime's with precision `exact`.

    Kernels are used where they are built (`devices.native.kernels.ensure`), with the same results as the reference interpreter, which
    stands in for them elsewhere.
    """

    name = "native"
    device = "cpu"
    precisions: tuple[str, ...] = ("exact",)

    def missing(self) -> str | None:
        return None

    def lacks(self, path: Path) -> tuple[str, ...]:
        from devices.native.importer import lacks

        return lacks(path)

    def load(self, model: ModelInfo, *, threads: int, precision: str = "auto") -> Session:
        if precision not in ("auto", *self.precisions):
            near = difflib.get_close_matches(precision, self.precisions, 1)
            raise EngineError(
                f"{self.name}: precision: expected auto or {', '.join(self.precisions)}, got {precision!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if threads < 1:
            raise EngineError(f"{self.name}: threads: expected at least 1, got {threads}")
        from devices.native.compiler import compile_model

        return NativeSession(model, compile_model(model.path, dict(model.dims)), min(threads, len(os.sched_getaffinity(0))))


class NativeSession:
    """A compiled model. Arrays of the caller are read and written where they are. A model with an open batch takes any number of items."""

    def __init__(self, model: ModelInfo, program: Program, threads: int = 1) -> None:
        self._name = f"native: {model.path.name}"
        self._program: Program | None = program
        self._threads = threads
        self._crew: Crew | None = None
        self._lock = Lock()
        self._executors: dict[int, Machine | Executor] = {}
        self._own: dict[int, dict[str, np.ndarray]] = {}
        self.batches = set(program.graph.inputs) == set(program.graph.batch)
        self._batched = {program.inputs[program.graph.inputs.index(name)][0] for name in program.graph.batch}
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.outputs))
        self._check_signature(model)

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self._lock:
            if self._program is None:
                raise EngineError(f"{self._name}: expected an open session, got one that was closed")
            executor = self._executor(self._items(inputs))
            taken = [self._taken(name, inputs, TensorSpec(told.dtype, told.shape)) for name, told in executor.program.inputs]
            if len(inputs) != len(taken):
                raise other_names(self._name, "inputs", inputs, self.inputs)
            given = self._given(executor, outputs)
            executor.run(taken, [given[name] for name, _ in executor.program.outputs])
            return given

    def close(self) -> None:
        with self._lock:
            self._program = None
            self._executors.clear()
            self._own.clear()
            if self._crew is not None:
                self._crew.close()

    def _items(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many items came: more or fewer than the signature says only where the model's batch is open."""
        for name in self._batched:
            array, spec = inputs.get(name), self.inputs[name]
            if isinstance(array, np.ndarray) and array.shape[1:] == spec.shape[1:] and array.ndim == len(spec.shape) and array.shape[0] > 0:
                return int(array.shape[0])
            return spec.shape[0]
        return 1

    def _executor(self, items: int) -> Machine | Executor:
        from devices.native.ir import GraphError

        assert self._program is not None
        if items not in self._executors:
            while len(self._executors) >= BATCHES:
                oldest = next(iter(self._executors))
                del self._executors[oldest]
                self._own.pop(oldest, None)
            try:
                self._executors[items] = self._runner(self._program.at(items) if self._batched else self._program)
            except (GraphError, MemoryError) as error:
                raise EngineError(f"{self._name}: a batch of {items}: {error or 'not enough memory'}; run fewer at once") from error
        return self._executors[items]

    def _runner(self, program: Program) -> Machine | Executor:
        """What runs the program here: kernels if they are built."""
        from devices.kernels import KernelError
        from devices.native.kernels import library

        try:
            kernels = library()
        except KernelError:
            from devices.native.execute import Executor

            return Executor(program)
        from devices.native.crew import Crew
        from devices.native.machine import Machine

        self._crew = self._crew or Crew(self._threads)
        return Machine(program, kernels, self._crew)

    def _taken(self, name: str, inputs: Mapping[str, np.ndarray], expected: TensorSpec) -> np.ndarray:
        if (array := inputs.get(name)) is None:
            raise other_names(self._name, "inputs", inputs, self.inputs)
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(expected.dtype) or array.shape != expected.shape:
            raise other_array(self._name, f"input {name!r}", array, expected)
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)

    def _given(self, executor: Machine | Executor, outputs: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """The arrays to write to."""
        expected = {name: TensorSpec(told.dtype, told.shape) for name, told in executor.program.outputs}
        if outputs is None:
            items = next(key for key, value in self._executors.items() if value is executor)
            own = self._own.setdefault(items, {name: np.empty(spec.shape, spec.dtype) for name, spec in expected.items()})
            return dict(own)
        if len(outputs) != len(expected) or any(name not in outputs for name in expected):
            raise other_names(self._name, "outputs", outputs, self.outputs)
        for name, spec in expected.items():
            array = outputs[name]
            if not isinstance(array, np.ndarray) or array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
                raise other_array(self._name, f"output {name!r}", array, spec)
            if not (array.flags.c_contiguous and array.flags.writeable):
                raise EngineError(f"{self._name}: output {name!r}: expected contiguous memory that can be written, got other")
        return {name: outputs[name] for name in expected}

    def _check_signature(self, model: ModelInfo) -> None:
        """The file must still be what the plan was made from. Raises EngineError."""
        assert self._program is not None
        items = next((self.inputs[name].shape[0] for name in self._batched if name in self.inputs), 1)
        program = self._program.at(items) if self._batched else self._program
        for role, expected, got in (("inputs", model.inputs, program.inputs), ("outputs", model.outputs, program.outputs)):
            seen = [(name, TensorSpec(told.dtype, told.shape)) for name, told in got]
            if seen != list(expected):
                wanted, told = (", ".join(f"{name}: {spec}" for name, spec in side) for side in (expected, seen))
                raise EngineError(f"native: {model.path}: {role}: expected {{{wanted}}}, got {{{told}}}; export the model again")


ENGINE = Native()
