"""The seam: every change that store, trust store and agent make to the disk is one call here, and nothing else touches it.

Tests put their own implementation in its place: they cut after every call, lose what was not synced, and fill the disk.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path


class Effects:
    """Plain calls of the system. Names that were made, renamed or removed are durable after `sync_folder`, contents after `sync`.

    Every method raises OSError (`commit` and `copy`: also sqlite3.Error).
    """

    def mkdir(self, path: Path, mode: int = 0o755) -> None:
        """A folder; nothing happens where there is one."""
        path.mkdir(mode=mode, exist_ok=True)

    def touch(self, path: Path) -> None:
        """A private file to be locked, empty where it is new; nothing happens where there is one."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))

    def create(self, path: Path, mode: int = 0o600) -> None:
        """An empty file, in place of any other."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode))

    def reserve(self, path: Path, size: int) -> None:
        """Gives the file its space, so that writing it cannot find the disk full."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if size:
                os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)

    def write(self, path: Path, data: bytes, offset: int) -> None:
        """Bytes into a file that is there."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            view = memoryview(data)
            while view:
                done = os.pwrite(handle, view, offset)
                view, offset = view[done:], offset + done
        finally:
            os.close(handle)

    def protect(self, path: Path) -> None:
        """Nobody writes this file again."""
        path.chmod(0o444)

    def sync(self, path: Path) -> None:
        """The content is durable."""
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_folder(self, path: Path) -> None:
        """The names in the folder are durable."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Under the new name only, in place of what was there."""
        old.replace(new)

    def link(self, old: Path, new: Path) -> None:
        """A second name."""
        os.link(old, new)

    def unlink(self, path: Path) -> None:
        """Removes a name; nothing happens where there is none."""
        path.unlink(missing_ok=True)

    def rmdir(self, path: Path) -> None:
        """Removes an empty folder."""
        path.rmdir()

    def commit(self, connection: sqlite3.Connection) -> None:
        """The transaction is durable, whole or not at all (WAL, synchronous FULL)."""
        connection.execute("COMMIT")

    def copy(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        """The target's content is that of the source, durable, whole or not at all."""
        source.backup(target)


def make_folder(effects: Effects, path: Path, mode: int = 0o755) -> None:
    """A folder that a power cut does not take away. Raises OSError."""
    effects.mkdir(path, mode)
    above = path.absolute().parent
    # A mount point's name is not ours to keep, nor one in a folder that we may not even read.
    if above.stat().st_dev == path.stat().st_dev and os.access(above, os.R_OK):
        effects.sync_folder(above)


def write_file(effects: Effects, path: Path, data: bytes) -> None:
    """A file that only its owner may read: whole and durable, or as it was before. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    effects.create(part)
    effects.write(part, data, 0)
    effects.sync(part)
    effects.rename(part, path)
    effects.sync_folder(path.parent)
