"""Where program files lie: one for each model, sizes of its open dimensions, compiler, kernels and instruction set. Imports no compiler.

A file is made once, in a process of its own, and put in its place in one step. One that is damaged is set aside and made again.
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
from devices.native.image import FORMAT, Image, ImageError, open_image
from devices.native.isa import best
from devices.native.kernels.load import entry

if TYPE_CHECKING:
    from devices.kernels.apart import Report

KIND = "programs"
"""The folder of the cache."""
PROGRAM, DAMAGED = ".program", ".damaged"
KEPT = 64
"""Files of a sort that stay when a new one comes; those that were not used for longest make way."""


def key(model: ModelInfo) -> str:
    """The name of what is made of this model here. Raises IsaError."""
    parts = (model.digest, sorted(model.dims), entry(best()), FORMAT, *versions())
    return f"{model.digest[:16]}-{hashlib.sha256(repr(parts).encode() + sources()).hexdigest()[:32]}"


@lru_cache(maxsize=1)
def sources() -> bytes:
    """Digest of all code that decides what a program is."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted([*here.rglob("*.py"), here.parent / "onnx_file.py", here.parent / "model.py"]):
        digest.update(f"{source.relative_to(here.parent)}\0".encode() + hashlib.sha256(source.read_bytes()).digest())
    return digest.digest()


@lru_cache(maxsize=1)
def versions() -> tuple[str, ...]:
    """Versions of the libraries that have a part in it."""
    return tuple(f"{name} {version(name)}" for name in ("numpy", "onnx", "numba", "llvmlite"))


def find(model: ModelInfo) -> Path | None:
    """The model's program file, unopened; None where there is none. Raises KernelError, IsaError."""
    path = cache.folder(KIND) / f"{key(model)}{PROGRAM}"
    return path if path.is_file() else None


def ensure(model: ModelInfo, report: Report | None = None) -> Path:
    """The model's program file, made if it is not there yet. Two processes at once make it once.

    Raises EngineError for a model that the compiler will not have, KernelError where it fails or the file cannot be written.
    """
    if found := find(model):
        with suppress(OSError):
            os.utime(found)
        return found
    say = report or (lambda text: None)
    with cache.lock(lambda: say("another process is compiling models, waiting for it"), KIND):
        return find(model) or install(f"{key(model)}{PROGRAM}", _compiled(model, say))


def load(model: ModelInfo, report: Report | None = None) -> Image:
    """The model's program, made (again) where it is not there or damaged. Raises as `ensure`."""
    path = ensure(model, report)
    try:
        return open_image(path)
    except (ImageError, OSError) as error:
        if report:
            report(f"{path}: {error}; it is set aside and made again")
        set_aside(path)
    path = ensure(model, report)
    try:
        return open_image(path)
    except (ImageError, OSError) as error:
        raise KernelError(f"{path}: the program was just written and cannot be read: {error}; check the disk, or set ACE_CACHE") from error


def set_aside(path: Path) -> None:
    """Takes a damaged file out of the way, for whoever wants to know what became of it."""
    with suppress(FileNotFoundError):
        path.replace(path.with_suffix(DAMAGED))


def install(name: str, content: bytes) -> Path:
    """Puts a file in its place in one step; it is there wholly or not at all. Raises KernelError."""
    import tempfile

    folder = cache.folder(KIND, create=True)
    path = folder / name
    try:
        descriptor, fresh = tempfile.mkstemp(prefix=".new-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(fresh).replace(path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
        for suffix in (path.suffix, DAMAGED):
            for old in sorted(folder.glob(f"*{suffix}"), key=lambda each: -each.stat().st_mtime)[KEPT:]:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise KernelError(f"cannot write {path}: {error.strerror or error}; free some space, or set ACE_CACHE to another folder") from error
    return path


def _compiled(model: ModelInfo, say: Report) -> bytes:
    from devices.kernels.apart import Refused, compile_apart

    order = json.dumps({"path": str(model.path.absolute()), "digest": model.digest, "dims": dict(model.dims)})
    try:
        return compile_apart("devices.native.build", lambda output: [order, str(output)], f"compiling {model.path.name} for native", say)
    except Refused as error:
        raise EngineError(str(error)) from None
