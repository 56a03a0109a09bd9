"""Content-addressed files. A blob counts once the database names it, and then its bytes are whole, durable and never written again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from manifests.bundle.canonical import BundleError, digest
from manifests.store.database import Database
from manifests.store.effects import Effects

CHUNK = 4 << 20


class BlobError(BundleError):
    """A blob that is not what it should be: expected, got, what to do next."""


class Blobs:
    """`blobs/sha256/ab/SHA256` (0444), and `partial/SHA256` while one is fetched."""

    def __init__(self, root: Path, database: Database, effects: Effects) -> None:
        self.folder, self.partial = root / "blobs" / "sha256", root / "partial"
        self._database, self._effects = database, effects

    def path(self, sha256: str) -> Path:
        """Where the blob lies."""
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the blob is here."""
        return self._database.value("SELECT 1 FROM blob WHERE sha256 = ?", sha256) is not None

    def read(self, sha256: str) -> bytes:
        """A small blob, its digest checked. Raises BlobError and OSError."""
        data = self.path(sha256).read_bytes() if self.has(sha256) else b""
        if digest(data) != sha256:
            raise BlobError(f"expected the blob {sha256} in the store, got {'another content' if data else 'none'}; fetch it again")
        return data

    def is_sound(self, sha256: str) -> bool:
        """Whether the blob is here and its bytes are still those of its digest."""
        try:
            return self.has(sha256) and _digest(self.path(sha256)) == sha256
        except OSError:
            return False

    def put(self, data: bytes) -> str:
        """Adds a small blob. Raises OSError."""
        sha256 = digest(data)
        if not self.has(sha256):
            done = self.begin(sha256, len(data))
            if done < len(data):
                self.append(sha256, data[done:], done)
            self.finish(sha256)
        return sha256

    def begin(self, sha256: str, size: int) -> int:
        """Reserves the space of a blob and returns how many of its bytes are here already. Raises OSError."""
        row = self._database.rows("SELECT size, done FROM partial WHERE sha256 = ?", sha256)
        path = self.partial / sha256
        if row and row[0][0] == size and path.is_file() and path.stat().st_size >= row[0][1]:
            return int(row[0][1])
        self._effects.create(path)
        self._effects.reserve(path, size)
        self._effects.sync_folder(self.partial)
        self._progress(sha256, size, 0)
        return 0

    def partial_size(self, sha256: str) -> int:
        """Bytes of the disk that a blob under way has already."""
        if self._database.value("SELECT 1 FROM partial WHERE sha256 = ?", sha256) is None:
            return 0
        try:
            return (self.partial / sha256).stat().st_size
        except OSError:
            return 0

    def append(self, sha256: str, data: bytes, offset: int) -> int:
        """Writes the next bytes and returns how many are here now; they survive a power cut. Raises OSError, BlobError for too many."""
        ((size, done),) = self._database.rows("SELECT size, done FROM partial WHERE sha256 = ?", sha256)
        if offset != done or offset + len(data) > size:
            raise BlobError(f"expected bytes {done} to {size} of {sha256}, got {offset} to {offset + len(data)}; begin anew")
        path = self.partial / sha256
        self._effects.write(path, data, offset)
        self._effects.sync(path)
        self._progress(sha256, size, offset + len(data))
        return offset + len(data)

    def finish(self, sha256: str) -> None:
        """Checks the digest and makes it a blob. Raises BlobError (what was fetched is then gone) and OSError."""
        ((size, done),) = self._database.rows("SELECT size, done FROM partial WHERE sha256 = ?", sha256)
        path = self.partial / sha256
        if done != size:
            raise BlobError(f"expected {size} bytes of {sha256}, got {done}; fetch the rest")
        got = _digest(path)
        if got != sha256:
            self.discard(sha256)
            raise BlobError(f"expected sha256 {sha256}, got {got}; fetch it again")
        self._effects.protect(path)
        self._effects.sync(path)
        self._place(path, sha256, size)

    def discard(self, sha256: str) -> None:
        """Gives up what was fetched of a blob."""
        with self._database.transaction():
            self._database.change("DELETE FROM partial WHERE sha256 = ?", sha256)
        self.remove(self.partial / sha256)

    def adopt(self, sha256: str) -> bool:
        """Takes a file that lies at its place without being known, after a database was lost; False where its bytes are others."""
        path = self.path(sha256)
        try:
            if _digest(path) != sha256:
                return False
        except OSError:
            return False
        self._effects.protect(path)
        self._effects.sync(path)
        self._effects.sync_folder(path.parent)
        self._known(sha256, path.stat().st_size)
        return True

    def forget(self, digests: list[str]) -> None:
        """These are no blobs any more, then their files go: a cut in between leaves files that nobody names."""
        with self._database.transaction():
            for sha256 in digests:
                self._database.change("DELETE FROM blob WHERE sha256 = ?", sha256)
        for sha256 in digests:
            self.remove(self.path(sha256))

    def remove(self, path: Path) -> None:
        """Removes a file that nobody names. While the database is in memory it stays: the one on the disk may name it. Raises OSError."""
        if not self._database.detached:
            self._effects.unlink(path)

    def _place(self, path: Path, sha256: str, size: int) -> None:
        target = self.path(sha256)
        if not target.parent.is_dir():
            self._effects.mkdir(target.parent)
        self._effects.sync_folder(self.folder)
        self._effects.rename(path, target)
        self._effects.sync_folder(target.parent)
        self._known(sha256, size)

    def _known(self, sha256: str, size: int) -> None:
        with self._database.transaction():
            self._database.change("INSERT OR REPLACE INTO blob (sha256, size) VALUES (?, ?)", sha256, size)
            self._database.change("DELETE FROM partial WHERE sha256 = ?", sha256)

    def _progress(self, sha256: str, size: int, done: int) -> None:
        with self._database.transaction():
            self._database.change("INSERT OR REPLACE INTO partial (sha256, size, done) VALUES (?, ?, ?)", sha256, size, done)


def _digest(path: Path) -> str:
    """sha256 of a regular file. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
