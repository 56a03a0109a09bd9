"""The private folder of a run: 0700, for socket files alone, removed at the end; what dead runs left is swept at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def _base() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK) and len(runtime) < 60:
        return Path(runtime) / "ace"
    return Path(tempfile.gettempdir()) / f"ace-{os.getuid()}"


class RunDirectory:
    """A folder that this process holds a lock on. Raises OSError or PermissionError when no private folder can be made."""

    def __init__(self) -> None:
        base = _base()
        base.mkdir(mode=0o700, exist_ok=True)
        info = base.lstat()
        if info.st_uid != os.getuid() or info.st_mode & 0o077 or base.is_symlink():
            raise PermissionError(
                f"{base}: expected a folder of our own with mode 0700, got mode {info.st_mode & 0o777:o} of user {info.st_uid}"
            )
        with _alone(base):
            sweep(base)
            self.path = Path(tempfile.mkdtemp(prefix="run-", dir=base))
            self._lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def address(self, name: str) -> str:
        """An ipc address inside."""
        return f"ipc://{self.path}/{name}"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@contextlib.contextmanager
def _alone(base: Path) -> Iterator[None]:
    """No other run makes its folder, or sweeps, meanwhile: one that is made but not locked yet is not taken for a dead run's."""
    guard = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def sweep(base: Path) -> None:
    """Removes folders of runs whose process is gone: nobody holds their lock, or they never came to have one."""
    for folder in base.glob("run-*"):
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
