"""The engine `native`: models compiled by ACE itself, run on the CPU."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
        self._crew = Crew(threads, library)
        self._lock = Lock()
        self._machines: dict[int, Machine] = {}
        self._known: dict[int, _Items] = {}
        self._batched = next((port.name for port in image.inputs if port.batched), None)
        self.batches = all(port.batched for port in image.inputs)
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.outputs))
        _check_signature(model, image)

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self._lock:
            if self._image is None:
                raise EngineError(f"{self._name}: expected an open session, got one that was closed")
            known = self._items(self._image, self._count(inputs))
            taken = [self._taken(slot, inputs) for slot in known.inputs]
            if len(inputs) != len(taken):
                raise other_names(self._name, "inputs", inputs, self.inputs)
            given = dict(known.own) if outputs is None else self._given(known, outputs)
            made = list(given.values())
            for machine, begin, end in known.portions:
                if len(known.portions) == 1:
                    machine.run(taken, made)
                else:
                    machine.run(_parts(known.inputs, taken, begin, end), _parts(known.outputs, made, begin, end))
            return given

    def close(self) -> None:
        with self._lock:
            self._image = None
            self._machines.clear()
            self._known.clear()
            self._crew.close()

    def _count(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many items came: more or fewer than the signature says only where the model's batch is open."""
        if self._batched is None:
            return 1
        array, spec = inputs.get(self._batched), self.inputs[self._batched]
        alike = isinstance(array, np.ndarray) and array.shape[1:] == spec.shape[1:] and array.ndim == len(spec.shape)
        items = array.shape[0] if alike and array is not None and array.shape[0] else spec.shape[0]
        if items > MAX_ITEMS:
            raise EngineError(f"{self._name}: expected at most {MAX_ITEMS} items, got a batch of {items}; run fewer at once")
        return items

    def _items(self, image: Image, items: int) -> _Items:
        """What is known of runs with so many items."""
        if items not in self._known:
            while len(self._known) >= BATCHES:
                del self._known[next(iter(self._known))]
            portions, begin = [], 0
            for count in _portions(items, image.variants):
                portions.append((self._machine(image, count), begin, begin + count))
                begin += count
            slots = [tuple(_Slot(port.name, _spec(port, items), port.batched) for port in ports) for ports in (image.inputs, image.outputs)]
            own = {slot.name: np.empty(slot.spec.shape, slot.spec.dtype) for slot in slots[1]}
            self._known[items] = _Items(slots[0], slots[1], tuple(portions), own)
        return self._known[items]

    def _machine(self, image: Image, items: int) -> Machine:
        from devices.native.machine import Machine

        if items not in self._machines:
            try:
                self._machines[items] = Machine(image, self._library, self._crew, items)
            except MemoryError as error:
                raise EngineError(f"{self._name}: a batch of {items}: not enough memory; run fewer at once") from error
        return self._machines[items]

    def _taken(self, slot: _Slot, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if (array := inputs.get(slot.name)) is None:
            raise other_names(self._name, "inputs", inputs, self.inputs)
        if not slot.holds(array):
            raise other_array(self._name, f"input {slot.name!r}", array, slot.spec)
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)

    def _given(self, known: _Items, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays to write to, in the order of the program's outputs."""
        if len(outputs) != len(known.outputs) or any(slot.name not in outputs for slot in known.outputs):
            raise other_names(self._name, "outputs", outputs, self.outputs)
        for slot in known.outputs:
            array = outputs[slot.name]
            if not slot.holds(array):
                raise other_array(self._name, f"output {slot.name!r}", array, slot.spec)
            if not (array.flags.c_contiguous and array.flags.writeable):
                raise EngineError(f"{self._name}: output {slot.name!r}: expected contiguous memory that can be written, got other")
        return {slot.name: outputs[slot.name] for slot in known.outputs}


class _Slot:
    """An input or output of runs with one number of items."""

    __slots__ = ("batched", "dtype", "name", "shape", "spec")

    def __init__(self, name: str, spec: TensorSpec, batched: bool) -> None:
        self.name, self.spec, self.batched = name, spec, batched
        self.dtype, self.shape = np.dtype(spec.dtype), spec.shape

    def holds(self, array: object) -> bool:
        """Whether it is an array of this type."""
        return isinstance(array, np.ndarray) and array.dtype == self.dtype and array.shape == self.shape


@dataclass(frozen=True, slots=True)
class _Items:
    """What runs of one number of items share. `portions`: a machine, and the items that it does, from one on and up to another."""

    inputs: tuple[_Slot, ...]
    outputs: tuple[_Slot, ...]
    portions: tuple[tuple[Machine, int, int], ...]
    own: dict[str, np.ndarray]


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


def _parts(slots: Sequence[_Slot], arrays: Sequence[np.ndarray], begin: int, end: int) -> list[np.ndarray]:
    """The items of the arrays that have them."""
    return [array[begin:end] if slot.batched else array for slot, array in zip(slots, arrays, strict=True)]


def _portions(items: int, known: Mapping[int, object]) -> Iterator[int]:
    """Numbers of items that the program was made for, which together are all, the largest first."""
    for count in sorted(known, reverse=True):
        while items >= count:
            yield count
            items -= count


ENGINE = Native()
