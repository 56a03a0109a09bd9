"""Where blobs come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError


class FetchError(Exception):
    """Bytes that did not come; it is tried again later."""


class Fetcher(Protocol):
    """Gives blobs by digest. What it gives is not trusted: length and digest are checked."""

    def fetch(self, sha256: str, offset: int, source: str) -> Iterator[bytes]:
        """The bytes from `offset` on, in parts of any size. `source` is what came with the desired state: empty from the cloud, or a path.

        Raises FetchError (also midway), OSError.
        """


class FileFetcher:
    """Bundle files and folders of blobs (`SHA256`, or `blobs/sha256/ab/SHA256`) on this machine; everything else from `otherwise`."""

    def __init__(self, otherwise: Fetcher | None = None) -> None:
        self._otherwise = otherwise
        self._open: tuple[str, Bundle] | None = None

    def fetch(self, sha256: str, offset: int, source: str) -> Iterator[bytes]:
        if not source:
            if self._otherwise is None:
                raise FetchError("expected a connection to the cloud, got none; give a signed file")
            return self._otherwise.fetch(sha256, offset, source)
        return self._from_folder(Path(source), sha256, offset) if Path(source).is_dir() else self._from_bundle(source, sha256, offset)

    def close(self) -> None:
        """Closes the bundle that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _from_bundle(self, source: str, sha256: str, offset: int) -> Iterator[bytes]:
        try:
            if self._open is None or self._open[0] != source:
                self.close()
                self._open = (source, Bundle(source))
            bundle = self._open[1]
            if not bundle.has(sha256):
                raise FetchError(f"{source}: expected the blob {sha256}, got a bundle without it")
            yield from bundle.chunks(sha256, offset)
        except (BundleError, OSError) as error:
            self.close()
            raise FetchError(f"{source}: expected a bundle to read, got: {error}") from None

    def _from_folder(self, folder: Path, sha256: str, offset: int) -> Iterator[bytes]:
        for path in (folder / sha256, folder / "blobs" / "sha256" / sha256[:2] / sha256):
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    while part := stream.read(1 << 20):
                        yield part
                return
            except FileNotFoundError:
                continue
            except OSError as error:
                raise FetchError(f"{path}: expected a file to read, got: {error.strerror}") from None
        raise FetchError(f"{folder}: expected the blob {sha256}, got a folder without it")
