"""Which engine runs a model where nobody names one: what preparing it found on this device, kept beside the program file.

A model runs on `native` when that covers it wholly and was measured to be faster, with every number of threads that was tried; else wholly
on `onnxruntime`. A model that was not prepared runs on `onnxruntime`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from devices.cpu import usable_cores
from devices.engine import ModelInfo
from devices.kernels import KernelError, cache
from devices.kernels.versions import version
from devices.native import programs
from devices.native.isa import IsaError

NATIVE, OTHER = "native", "onnxruntime"
CHOICE = ".json"
MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of `runs` runs of each engine, taken in turns."""

    threads: int
    runs: int
    native_ms: float
    onnxruntime_ms: float

    @property
    def ratio(self) -> float:
        """Time of native, as a part of the other's."""
        return self.native_ms / self.onnxruntime_ms

    def __str__(self) -> str:
        threads = f"{self.threads} threads" if self.threads > 1 else "1 thread"
        return f"{self.native_ms:.2f} against {self.onnxruntime_ms:.2f} ms with {threads}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is known of a model on this device: what native lacks, or else how long both took."""

    missing: tuple[str, ...]
    measured: tuple[Measured, ...]

    @property
    def engine(self) -> str:
        faster = bool(self.measured) and not self.missing and all(each.ratio < 1 for each in self.measured)
        return NATIVE if faster else OTHER

    @property
    def why(self) -> str:
        """The reason, in words."""
        if self.missing:
            return f"native lacks {', '.join(self.missing)}"
        return f"native was measured {'faster' if self.engine == NATIVE else 'no faster'}: {', '.join(map(str, self.measured))}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The engine for a model, and the reason."""

    engine: str
    why: str


def verdict(model: ModelInfo) -> Verdict:
    """The engine that runs this model where no node names one: the Model manifest's, or the stored choice. Reads one small file."""
    if model.engine != "auto":
        return Verdict(model.engine, "named by the Model manifest")
    found = known(model)
    if found is None:
        return Verdict(OTHER, "not prepared: `ace prepare` measures whether native is faster")
    return Verdict(found.engine, found.why)


def known(model: ModelInfo) -> Choice | None:
    """The stored choice, or None where there is none, or where none can be kept."""
    try:
        return find(model)
    except (IsaError, KernelError):
        return None


def find(model: ModelInfo) -> Choice | None:
    """The stored choice, or None where the model was not prepared here as it is now. Raises KernelError, IsaError."""
    told = _read(cache.folder(programs.KIND) / _name(model))
    try:
        missing, measured = tuple(told["missing"]), tuple(Measured(**each) for each in told["measured"])
        if not all(isinstance(each, str) for each in missing) or not all(map(_sound, measured)):
            return None
    except (TypeError, KeyError):
        return None
    return Choice(missing, measured)


def kept() -> list[tuple[str, Choice]]:
    """What was prepared on this device as it is now: models by name, with their choices. Raises KernelError, IsaError."""
    found = {}
    for path in sorted(cache.folder(programs.KIND).glob(f"*{CHOICE}")):
        told = _read(path)
        match told:
            case {"model": str(name), "digest": str(digest), "dims": list(dims)}:
                model = ModelInfo(name, "", path, digest, (), (), dims=tuple((str(dim), size) for dim, size in dims))
                if _name(model) == path.name and (choice := find(model)):
                    found[path] = (name, choice)
    return sorted(found.values(), key=lambda each: each[0])


def keep(model: ModelInfo, missing: Sequence[str], measured: Sequence[Measured]) -> Choice:
    """Stores what was found. Raises KernelError."""
    made = Choice(tuple(missing), tuple(measured))
    about = {"model": f"{model.name} {model.version}".strip(), "digest": model.digest, "dims": model.dims}
    programs.install(_name(model), json.dumps(about | asdict(made)).encode())
    return made


def _read(path: Path) -> Any:
    """What a file tells; None for a missing or damaged one."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _sound(measured: Measured) -> bool:
    times = (measured.native_ms, measured.onnxruntime_ms)
    counts = (measured.threads, measured.runs)
    return all(type(each) is int and each > 0 for each in counts) and all(
        type(each) is float and math.isfinite(each) and each > 0 for each in times
    )


def _name(model: ModelInfo) -> str:
    key = programs.key(model)
    return f"{key.partition('-')[0]}-{hashlib.sha256(f'{key} {_device()}'.encode()).hexdigest()[:32]}{CHOICE}"


@lru_cache(maxsize=1)
def _device() -> str:
    """All beside the program that a measurement depends on."""
    return repr((version(OTHER), usable_cores(), cache.cpu()))
