"""Where built kernels lie: one private folder a user, one entry for each set of sources, compiler versions and CPU."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from devices.kernels.versions import version

OBJECT, RECORD = "kernels.so", "kernels.json"
KEPT = 8
"""Entries that stay when a new one is installed: other environments and versions of the same user."""


class KernelError(Exception):
    """Kernels that are not built, cannot be built, or lie where others could change them: says what to do next."""


def root() -> Path:
    """The folder of all cached files of this user: ACE_CACHE, or `ace` in XDG_CACHE_HOME or ~/.cache. Raises KernelError without a home."""
    if chosen := os.environ.get("ACE_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "ace"  # noqa: PTH117 - "" is no path
    except RuntimeError as error:
        raise KernelError(
            f"expected a home directory for cached kernels, got none ({error}); set ACE_CACHE to a folder of your own"
        ) from None


@lru_cache(maxsize=1)
def key() -> str:
    """Hash of everything that decides what is in the shared object."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted([*here.glob("*.py"), *here.glob("source/*.py")]):
        digest.update(f"{source.relative_to(here)}\0".encode() + hashlib.sha256(source.read_bytes()).digest())
    versions = [version("numba"), version("llvmlite"), sys.implementation.cache_tag or "", sys.abiflags]
    for part in (*versions, os.uname().machine, os.uname().sysname, *cpu()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def cpu() -> list[str]:
    """What distinguishes CPUs for the compiler: lines of model and features, each once."""
    wanted = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return [os.uname().machine]
    return sorted({line for line in lines if line.split(":")[0].strip() in wanted})


def folder(kind: str = "kernels", *, create: bool = False) -> Path:
    """The private folder of kernels, or of what else is made ahead. Raises KernelError when it belongs to, or can be written by, somebody
    else."""
    place = root() / kind
    if create:
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise KernelError(
                f"cannot make the folder of cached {kind} {place}: {error.strerror}; set ACE_CACHE to one you may write"
            ) from None
    for part in (place.parent, place):
        _must_be_private(part)
    return place


def _must_be_private(part: Path) -> None:
    try:
        status = part.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(f"cannot read the folder of cached files {part}: {error.strerror}; set ACE_CACHE to one of your own") from None
    if status.st_uid != os.geteuid():
        raise KernelError(
            f"expected {part} to belong to user {os.geteuid()}, got user {status.st_uid}; set ACE_CACHE to a folder of your own"
        )
    if status.st_mode & 0o022:
        raise KernelError(f"expected {part} to be writable by its owner only, got mode {status.st_mode & 0o777:o}; run: chmod go-w {part}")


def find(entry: str = "") -> Path | None:
    """The shared object of this entry (default: the image kernels of this machine), or None when it is not built, or not as it was written.

    Raises KernelError.
    """
    place = folder() / (entry or key())
    try:
        record = json.loads((place / RECORD).read_text())
        content = (place / OBJECT).read_bytes()
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("sha256") != hashlib.sha256(content).hexdigest():
        return None
    return place / OBJECT


def install(content: bytes, entry: str = "") -> Path:
    """Puts a shared object in its place in one step; it is there wholly or not at all.

    The oldest entries of the same kind (the name before its last hyphen) make way for it.
    """
    import shutil
    import tempfile

    place, name = folder(create=True), entry or key()
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
    try:
        record = {"sha256": hashlib.sha256(content).hexdigest(), "machine": os.uname().machine}
        for file_name, data in ((OBJECT, content), (RECORD, json.dumps(record).encode())):
            with (fresh / file_name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(place / name, ignore_errors=True)
        fresh.rename(place / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    alike = [one for one in place.iterdir() if one.is_dir() and one.name.rpartition("-")[0] == name.rpartition("-")[0]]
    for old in sorted(alike, key=lambda one: one.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return place / name / OBJECT


@contextmanager
def lock(waiting: Callable[[], None], kind: str = "kernels") -> Iterator[None]:
    """Holds the folder against other processes that build; calls `waiting` once when it must wait for one."""
    descriptor = os.open(folder(kind, create=True) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
