"""A video file, decoded by FFmpeg in the decoder's own pixel format."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from flow.sources import path_of
from flow.sources.contract import Picture, Probe, SourceError
from flow.sources.decoder import Decoder, demuxers_of_one_file


class FileSource:
    """`file:PATH` or a bare path: every container and codec of FFmpeg that is a single file."""

    scheme: ClassVar[str] = "file"

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        decoder = _open(uri, options)
        try:
            picture = decoder.read()
            assert picture is not None  # a file without a picture is an error
            return Probe(picture.spec, decoder.fps, live=False, frames=decoder.frames)
        finally:
            decoder.close()

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> FileReader:
        return FileReader(_open(uri, options))


class FileReader:
    """An open video file. `corrupt` counts the pictures that could not be decoded."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder: Decoder | None = decoder
        self._lock = threading.Lock()
        self.corrupt = 0

    def read(self) -> Picture | None:
        with self._lock:
            if self._decoder is None:
                return None
            try:
                return self._decoder.read()
            finally:
                self.corrupt = self._decoder.corrupt

    def close(self) -> None:
        with self._lock:
            if self._decoder is not None:
                self._decoder.close()
                self._decoder = None


def check_readable(path: Path, uri: str) -> None:
    """Raises SourceError unless the path is a regular file with something in it that we may read."""
    try:
        state = path.stat()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"{uri}: expected a file, got none: {why}{_near(path)}") from None
    if not stat.S_ISREG(state.st_mode):
        raise SourceError(f"{uri}: expected a regular file, got something else (a camera is v4l2:{path})")
    if state.st_size == 0:
        raise SourceError(f"{uri}: expected a video or picture, got an empty file")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{uri}: expected a file that we may read, got one without permission (ls -l {path})")


def _open(uri: str, options: Mapping[str, Any]) -> Decoder:
    path = path_of(uri)
    check_readable(path, uri)
    # A "video" that is really a playlist could make FFmpeg read other files or addresses.
    av_options = {"protocol_whitelist": "file", "format_whitelist": ",".join(demuxers_of_one_file())}
    return Decoder(f"file:{path}", uri=uri, expected="a video that FFmpeg can read", options=options, av_options=av_options)


def _near(path: Path) -> str:
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" (did you mean {path.parent / near[0]}?)" if near else ""
