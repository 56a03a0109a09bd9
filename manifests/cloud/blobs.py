"""The bytes of models and graphs, each file named by the sha256 of what it holds; never rewritten."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from manifests.cloud.errors import Unknown, Wrong

DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Files below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob is. Raises Unknown."""
        if not DIGEST.fullmatch(digest):
            raise Unknown("expected a sha256 of 64 hexadecimal digits")
        path = self.folder / digest[:2] / digest
        if not path.is_file():
            raise Unknown(f"there is no blob {digest[:12]}")
        return path

    def add(self, digest: str, size: int, source: Iterator[bytes]) -> None:
        """Stores a blob; one that is there is left alone. Raises Wrong where the bytes are others than was said."""
        target = self.folder / digest[:2] / digest
        if target.is_file():
            return
        target.parent.mkdir(exist_ok=True)
        got, seen = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as part:
            try:
                for piece in source:
                    seen += len(piece)
                    if seen > size:
                        break
                    got.update(piece)
                    part.write(piece)
                if seen != size or got.hexdigest() != digest:
                    raise Wrong(f"blob {digest[:12]}: expected {size} bytes with this sha256, got {seen} with {got.hexdigest()[:12]}")
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).chmod(0o444)
                Path(part.name).replace(target)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
