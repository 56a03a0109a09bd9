"""Where program files lie: one for each model, sizes of its open dimensions, compiler and size of local memory, in native's folder.

A file is made once, in a process of its own. One that is damaged is set aside and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from devices.engine import EngineError, ModelInfo
from devices.kernels import KernelError, cache
from devices.kernels.versions import version
from devices.native.programs import KIND, install, set_aside
from devices.native.programs import sources as native_sources
from devices.vpu.program import FORMAT, Program, ProgramError, unpack

if TYPE_CHECKING:
    from devices.kernels.apart import Report

PROGRAM = ".vpu"
MOST_BYTES = 2**31


def ensure(model: ModelInfo, local_bytes: int, report: Report | None = None) -> Path:
    """The model's program file, made if it is not there yet. Two processes at once make it once.

    Raises EngineError for a model that the machine cannot run, KernelError where the compiler fails or the file cannot be written.
    """
    path = cache.folder(KIND) / f"{key(model, local_bytes)}{PROGRAM}"
    if path.is_file():
        with suppress(OSError):
            os.utime(path)
        return path
    say = report or (lambda text: None)
    with cache.lock(lambda: say("another process is compiling models, waiting for it"), KIND):
        return path if path.is_file() else install(path.name, _compiled(model, local_bytes, say))


def load(model: ModelInfo, local_bytes: int, report: Report | None = None) -> Program:
    """The model's program, made (again) where it is not there or damaged. Raises as `ensure`."""
    path = ensure(model, local_bytes, report)
    try:
        return _read(path)
    except (ProgramError, OSError) as error:
        if report:
            report(f"{path}: {error}; it is set aside and made again")
        set_aside(path)
    path = ensure(model, local_bytes, report)
    try:
        return _read(path)
    except (ProgramError, OSError) as error:
        raise KernelError(f"{path}: the program was just written and cannot be read: {error}; check the disk, or set ACE_CACHE") from error


def key(model: ModelInfo, local_bytes: int) -> str:
    """The name of what is made of this model for a machine with so much local memory."""
    parts = (model.digest, sorted(model.dims), local_bytes, FORMAT, version("numpy"), version("onnx"))
    digest = hashlib.sha256(repr(parts).encode() + native_sources() + _sources())
    return f"{model.digest[:16]}-{digest.hexdigest()[:32]}"


@lru_cache(maxsize=1)
def _sources() -> bytes:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{source.name}\0".encode() + hashlib.sha256(source.read_bytes()).digest())
    return digest.digest()


def _read(path: Path) -> Program:
    with path.open("rb") as file:
        return unpack(file.read(MOST_BYTES))


def _compiled(model: ModelInfo, local_bytes: int, say: Report) -> bytes:
    from devices.kernels.apart import Refused, compile_apart

    told = {"path": str(model.path.absolute()), "digest": model.digest, "dims": dict(model.dims), "local_bytes": local_bytes}
    try:
        return compile_apart(
            "devices.vpu.build", lambda output: [json.dumps(told), str(output)], f"compiling {model.path.name} for the vpu", say
        )
    except Refused as error:
        raise EngineError(str(error)) from None
