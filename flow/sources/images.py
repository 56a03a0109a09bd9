"""A folder or glob of pictures, or one picture: every format that OpenCV reads, turned upright, as bgr24."""

from __future__ import annotations

import glob
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from devices.spec import ImageSpec
from flow.sources import exists, path_of
from flow.sources.contract import Picture, Probe, SourceError
from flow.sources.decoder import DEFAULT_FPS, MAX_PIXELS
from flow.sources.picture_size import picture_size

SUFFIXES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".hdr", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm", ".pic", ".png", ".pnm", ".ppm",
    ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp",
})  # fmt: skip
MAX_FILE_BYTES = 1 << 28
PROBE_SECONDS = 10.0


def is_images(path: Path) -> bool:
    """Whether this path means pictures: a folder, a glob, or one picture file (a lone GIF is a video)."""
    if _is_folder(path):
        return True
    suffix = path.suffix.lower()
    return (suffix in SUFFIXES and suffix != ".gif") or (glob.has_magic(str(path)) and not exists(path))


class ImagesSource:
    """Pictures in the order of their paths, at `fps` of the options (25 without). Sizes may differ from picture to picture."""

    scheme: ClassVar[str] = "images"

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        paths = _paths(uri)
        return Probe(_largest(uri, paths), _fps(options), live=False, frames=len(paths))

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> ImagesReader:
        return ImagesReader(uri, _paths(uri), _fps(options))


class ImagesReader:
    """An open list of pictures. `corrupt` counts the files that hold no whole picture; they take no place in time."""

    def __init__(self, uri: str, paths: list[Path], fps: float) -> None:
        self._uri, self._paths, self._fps = uri, paths, fps
        self._closed = threading.Event()
        self._next = 0
        self._read = 0
        self.corrupt = 0

    def read(self) -> Picture | None:
        while self._next < len(self._paths) and not self._closed.is_set():
            pixels = load(self._paths[self._next])
            self._next += 1
            if pixels is None:
                self.corrupt += 1
                continue
            pts_ns = round(self._read * 1e9 / self._fps)
            self._read += 1
            return Picture(_spec(pixels), (pixels,), pts_ns)
        if not self._read and not self._closed.is_set():
            raise SourceError(f"{self._uri}: expected pictures that OpenCV reads, got none among {len(self._paths)} files")
        return None

    def close(self) -> None:
        self._closed.set()


def load(path: Path) -> np.ndarray | None:
    """The picture as uint8 (H, W, 3) blue, green, red, turned upright as its EXIF says; None where the file holds no whole picture."""
    import cv2

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        data = path.read_bytes()
        size = picture_size(path)
    except OSError:
        return None
    if (size is not None and size[0] * size[1] > MAX_PIXELS) or _cut_off(data):
        return None
    try:
        pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return pixels


def _cut_off(data: bytes) -> bool:
    """Whether a JPEG has lost its end. OpenCV fills such a picture with grey and calls it whole."""
    return data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < 0


def _paths(uri: str) -> list[Path]:
    path = path_of(uri)
    if _is_folder(path):
        try:
            found = list(path.iterdir())
        except OSError as error:
            raise SourceError(f"{uri}: expected a folder that we may read, got: {error.strerror}") from None
    elif glob.has_magic(str(path)) and not exists(path):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (a glob may be absolute)
    else:
        from flow.sources.file import check_readable

        check_readable(path, uri)
        found = [path]
    pictures = sorted(item for item in found if item.suffix.lower() in SUFFIXES and not item.name.startswith(".") and item.is_file())
    if not pictures:
        raise SourceError(f"{uri}: expected picture files ({', '.join(sorted(SUFFIXES)[:8])}, …), got none among {len(found)} entries")
    return pictures


def _largest(uri: str, paths: list[Path]) -> ImageSpec:
    """The spec of the picture with most pixels. Headers are read where that is enough; a picture is decoded otherwise."""
    until = time.monotonic() + PROBE_SECONDS
    areas: list[tuple[int, Path]] = []
    for path in paths:
        size = _measure(path)
        if size is not None:
            areas.append((size[0] * size[1], path))
        if time.monotonic() > until:
            raise SourceError(
                f"{uri}: expected to have measured {len(paths)} pictures after {PROBE_SECONDS:g} s, got to {path.name};"
                " split the folder, or keep the pictures as PNG or JPEG"
            )
    for _, path in sorted(areas, key=lambda item: -item[0]):
        pixels = load(path)
        if pixels is not None:
            return _spec(pixels)
    raise SourceError(f"{uri}: expected pictures that OpenCV reads, got none among {len(paths)} files; open one in a viewer")


def _measure(path: Path) -> tuple[int, int] | None:
    try:
        size = picture_size(path)
    except OSError:
        return None
    if size is None and (pixels := load(path)) is not None:
        size = (pixels.shape[1], pixels.shape[0])
    return size


def _spec(pixels: np.ndarray) -> ImageSpec:
    return ImageSpec(pixels.shape[1], pixels.shape[0], "bgr24")


def _is_folder(path: Path) -> bool:
    return exists(path) and path.is_dir()


def _fps(options: Mapping[str, Any]) -> float:
    return float(options.get("fps") or DEFAULT_FPS)
