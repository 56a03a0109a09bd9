"""The engine `native`: models compiled by ACE itself, run on the CPU."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from devices.engine import EngineError, ModelInfo, Session
from devices.mismatch import other_array, other_names
from devices.spec import TensorSpec

if TYPE_CHECKING:
    from devices.native.image import Image, Port
    from devices.native.kernels import Library
    from devices.native.machine import Machine

MAX_ITEMS = 4096
"""Items of one run."""
BATCHES = 8
"""Numbers of items whose own output arrays are kept."""


class Native:
    """ACE's own compiler and kernels. 8-bit results are exact: the same as ONNX Runtime's with precision `exact`.

    Loading opens the model's program file (`devices.native.programs`), which `ace prepare` makes; where it is missing it is made first, in
    a process of its own.
    """

    name = "native"
    device = "cpu"
    precisions: tuple[str, ...] = ("exact",)

    def missing(self) -> str | None:
        from devices.native.isa import IsaError, best

        try:
            best()
        except IsaError as error:
            return str(error)
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
        from devices.native import programs
        from devices.native.kernels import KernelError, ensure, library

        try:
            image = programs.load(model)
            ensure()
            return NativeSession(model, image, library(), min(threads, len(os.sched_getaffinity(0))))
        except KernelError as error:
            raise EngineError(f"{self.name}: {model.path}: {error}") from error


class NativeSession:
    """A loaded program. Arrays of the caller are read and written where they are. A model with an open batch takes any number of items."""

    def __init__(self, model: ModelInfo, image: Image, library: Library, threads: int = 1) -> None:
        from devices.native.crew import Crew

        self._name = f"native: {model.path.name}"
        self._image: Image | None = image
        self._library = library
        self._crew = Crew(threads)
        self._lock = Lock()
        self._machines: dict[int, Machine] = {}
        self._own: dict[int, dict[str, np.ndarray]] = {}
        self.batches = all(port.batched for port in image.inputs)
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.outputs))
        _check_signature(model, image)

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self._lock:
            if self._image is None:
                raise EngineError(f"{self._name}: expected an open session, got one that was closed")
            image = self._image
            items = self._items(image, inputs)
            taken = [self._taken(port.name, inputs, _spec(port, items)) for port in image.inputs]
            if len(inputs) != len(taken):
                raise other_names(self._name, "inputs", inputs, self.inputs)
            given = self._given(image, items, outputs)
            made = [given[port.name] for port in image.outputs]
            begin = 0
            for count in _portions(items, image.variants):
                end = begin + count
                self._machine(image, count).run(
                    [_part(port, array, begin, end) for port, array in zip(image.inputs, taken, strict=True)],
                    [_part(port, array, begin, end) for port, array in zip(image.outputs, made, strict=True)],
                )
                begin = end
            return given

    def close(self) -> None:
        with self._lock:
            self._image = None
            self._machines.clear()
            self._own.clear()
            self._crew.close()

    def _items(self, image: Image, inputs: Mapping[str, np.ndarray]) -> int:
        """How many items came: more or fewer than the signature says only where the model's batch is open."""
        port = next((port for port in image.inputs if port.batched), None)
        if port is None:
            return 1
        array, spec = inputs.get(port.name), self.inputs[port.name]
        alike = isinstance(array, np.ndarray) and array.shape[1:] == spec.shape[1:] and array.ndim == len(spec.shape)
        items = array.shape[0] if alike and array is not None and array.shape[0] else spec.shape[0]
        if items > MAX_ITEMS:
            raise EngineError(f"{self._name}: expected at most {MAX_ITEMS} items, got a batch of {items}; run fewer at once")
        return items

    def _machine(self, image: Image, items: int) -> Machine:
        from devices.native.machine import Machine

        if items not in self._machines:
            try:
                self._machines[items] = Machine(image, self._library, self._crew, items)
            except MemoryError as error:
                raise EngineError(f"{self._name}: a batch of {items}: not enough memory; run fewer at once") from error
        return self._machines[items]

    def _taken(self, name: str, inputs: Mapping[str, np.ndarray], expected: TensorSpec) -> np.ndarray:
        if (array := inputs.get(name)) is None:
            raise other_names(self._name, "inputs", inputs, self.inputs)
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(expected.dtype) or array.shape != expected.shape:
            raise other_array(self._name, f"input {name!r}", array, expected)
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)

    def _given(self, image: Image, items: int, outputs: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """The arrays to write to."""
        expected = {port.name: _spec(port, items) for port in image.outputs}
        if outputs is None:
            if items not in self._own:
                while len(self._own) >= BATCHES:
                    del self._own[next(iter(self._own))]
                self._own[items] = {name: np.empty(spec.shape, spec.dtype) for name, spec in expected.items()}
            return dict(self._own[items])
        if len(outputs) != len(expected) or any(name not in outputs for name in expected):
            raise other_names(self._name, "outputs", outputs, self.outputs)
        for name, spec in expected.items():
            array = outputs[name]
            if not isinstance(array, np.ndarray) or array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
                raise other_array(self._name, f"output {name!r}", array, spec)
            if not (array.flags.c_contiguous and array.flags.writeable):
                raise EngineError(f"{self._name}: output {name!r}: expected contiguous memory that can be written, got other")
        return {name: outputs[name] for name in expected}


def _check_signature(model: ModelInfo, image: Image) -> None:
    """The program must be of the model that the plan was made with. Raises EngineError."""
    items = next((dict(model.inputs)[port.name].shape[0] for port in image.inputs if port.batched and port.name in dict(model.inputs)), 1)
    for role, expected, ports in (("inputs", model.inputs, image.inputs), ("outputs", model.outputs, image.outputs)):
        seen = [(port.name, _spec(port, items)) for port in ports]
        if seen != list(expected):
            wanted, told = (", ".join(f"{name}: {spec}" for name, spec in side) for side in (expected, seen))
            raise EngineError(f"native: {model.path}: {role}: expected {{{wanted}}}, got {{{told}}}; export the model again")


def _spec(port: Port, items: int) -> TensorSpec:
    at = port.at(items)
    return TensorSpec(at.dtype, at.shape)


def _part(port: Port, array: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The items of an array that have them."""
    return array[begin:end] if port.batched else array


def _portions(items: int, known: Mapping[int, object]) -> Iterator[int]:
    """Numbers of items that the program was made for, which together are all, the largest first."""
    for count in sorted(known, reverse=True):
        while items >= count:
            yield count
            items -= count


ENGINE = Native()
