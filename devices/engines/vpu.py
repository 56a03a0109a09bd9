"""The engine `vpu`: uint8 models as integer-only programs on the device `vpu`."""

from __future__ import annotations

import difflib
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
    from devices.vpu.machine import Machine
    from devices.vpu.program import Port, Program


class VpuEngine:
    """Runs models that are quantized from end to end; results may differ from other engines' in the last bit of each layer, for scales are
    fixed-point factors here. What is float at the model's border is converted by whoever runs the session, not by the program.

    Loading opens the model's program file (`devices.vpu.programs`); where it is missing it is made first, in a process of its own.
    """

    name = "vpu"
    device = "vpu"
    precisions: tuple[str, ...] = ("fixed",)

    def missing(self) -> str | None:
        from devices.vpu.machine import declared

        try:
            declared()
        except EngineError as error:
            return str(error)
        return None

    def lacks(self, path: Path) -> tuple[str, ...]:
        from devices.vpu.compiler import lacks
        from devices.vpu.machine import declared

        return lacks(path, declared().local_bytes)

    def load(self, model: ModelInfo, *, threads: int, precision: str = "auto") -> Session:
        if precision not in ("auto", *self.precisions):
            near = difflib.get_close_matches(precision, self.precisions, 1)
            raise EngineError(
                f"{self.name}: precision: expected auto or {', '.join(self.precisions)}, got {precision!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if threads < 1:
            raise EngineError(f"{self.name}: threads: expected at least 1, got {threads}")
        from devices.kernels import KernelError
        from devices.vpu import programs
        from devices.vpu.machine import declared

        machine = declared()
        try:
            return VpuSession(model, programs.load(model, machine.local_bytes), machine)
        except KernelError as error:
            raise EngineError(f"{self.name}: {model.path}: {error}") from error


class VpuSession:
    """A loaded program on the emulated machine. `nanoseconds` is how long a run takes at the declared speed."""

    def __init__(self, model: ModelInfo, program: Program, machine: Machine) -> None:
        from devices.vpu.emulator import Emulator

        self._name = f"vpu: {model.path.name}"
        self._emulator: Emulator | None = Emulator(program, machine)
        self._lock = Lock()
        self._own: dict[str, np.ndarray] | None = None
        self.nanoseconds = self._emulator.nanoseconds
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(model.outputs))
        _check_signature(model, program)

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self._lock:
            if self._emulator is None:
                raise EngineError(f"{self._name}: expected an open session, got one that was closed")
            program = self._emulator.program
            if set(inputs) != set(self.inputs):
                raise other_names(self._name, "inputs", inputs, self.inputs)
            for name, array in inputs.items():
                expected = self.inputs[name]
                if not isinstance(array, np.ndarray) or array.dtype != np.dtype(expected.dtype) or array.shape != expected.shape:
                    raise other_array(self._name, f"input {name!r}", array, expected)
            given = self._given(outputs)
            taken = [_stored(port, inputs[port.name]) for port in program.inputs]
            made = [
                np.empty(port.nbytes, np.uint8) if port.scale else given[port.name].reshape(-1).view(np.uint8) for port in program.outputs
            ]
            try:
                self._emulator.run(taken, made)
            except MemoryError as error:
                raise EngineError(f"{self._name}: not enough memory to emulate a run") from error
            for port, stored in zip(program.outputs, made, strict=True):
                if port.scale:
                    _write_real(port, stored, given[port.name])
            return given

    def close(self) -> None:
        with self._lock:
            self._emulator = self._own = None

    def _given(self, outputs: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """The arrays to write to."""
        if outputs is None:
            if self._own is None:
                self._own = {name: np.empty(spec.shape, spec.dtype) for name, spec in self.outputs.items()}
            return dict(self._own)
        if set(outputs) != set(self.outputs):
            raise other_names(self._name, "outputs", outputs, self.outputs)
        for name, spec in self.outputs.items():
            array = outputs[name]
            if not isinstance(array, np.ndarray) or array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
                raise other_array(self._name, f"output {name!r}", array, spec)
            if not (array.flags.c_contiguous and array.flags.writeable):
                raise EngineError(f"{self._name}: output {name!r}: expected contiguous memory that can be written, got other")
        return {name: outputs[name] for name in self.outputs}


def _stored(port: Port, array: np.ndarray) -> np.ndarray:
    """The caller's values as the program's bytes: as they are, or floats as clamp(round_half_even(x / scale) + zero)."""
    if not port.scale:
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    limits = np.iinfo(port.stored)
    with np.errstate(all="ignore"):
        whole = np.rint(array / np.float32(port.real_scale)) + np.float32(port.zero)
    return np.fmin(np.fmax(whole, limits.min), limits.max).astype(port.stored).reshape(-1).view(np.uint8)


def _write_real(port: Port, stored: np.ndarray, array: np.ndarray) -> None:
    """(stored - zero) * scale in float32."""
    whole = stored.view(port.stored).astype(np.int32) - port.zero
    np.multiply(whole.astype(np.float32).reshape(array.shape), np.float32(port.real_scale), out=array)


def _check_signature(model: ModelInfo, program: Program) -> None:
    """The program must be of the model that the plan was made with. Raises EngineError."""
    for role, expected, ports in (("inputs", model.inputs, program.inputs), ("outputs", model.outputs, program.outputs)):
        told = dict(expected)
        strange = next((port for port in ports if told.get(port.name) != TensorSpec(port.dtype, port.shape)), None)
        if strange is not None:
            raise EngineError(
                f"vpu: {model.path}: {role}: expected {strange.name!r} to be {told.get(strange.name, 'unknown')}, "
                f"got {strange.dtype}{list(strange.shape)} in its program; export the model again"
            )


ENGINE = VpuEngine()
