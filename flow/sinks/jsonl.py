"""JSON lines in a file: one row a result, each complete in the file as soon as it is written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from devices.spec import ImageSpec
from flow.plan.value import Sink as SinkPlan
from flow.result import Result
from flow.sinks.contract import SinkError
from flow.sinks.path import check_path, open_path
from ops.value import Image

BLOCK = 1 << 16
MAX_LINE = 1 << 24


class JsonLines:
    """`NAME.jsonl`. A row is one write: a kill loses none that was written and leaves at most one incomplete, at the end.

    Pictures of an image output are PNG files in the folder `NAME.masks`, named in the row's `mask.file`, written before their row.
    """

    targets: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    lasting: ClassVar[bool] = True
    wants: str = "result"

    @classmethod
    def check(cls, target: str) -> None:
        check_path(target)

    def __init__(self, plan: SinkPlan, fps: float) -> None:
        self._plan = plan
        self.wants = "picture" if isinstance(plan.spec, ImageSpec) else "result"
        self._handle = -1
        self._end = 0
        self._masks: Path | None = None

    def open(self, *, resume: bool) -> Mapping[str, int]:
        self._handle = open_path(self._plan.target)
        try:
            self._end = _whole_lines(self._handle) if resume else 0
            os.ftruncate(self._handle, self._end)
            return self._last_seqs() if resume else {}
        except OSError as error:
            raise SinkError(f"{self._plan.target}: expected a file that can be read and cut, got: {error.strerror}") from None

    def write(self, result: Result, picture: Image | None) -> None:
        if picture is not None:
            width, height = picture.spec.upright
            name = f"{result.stream}-{result.seq:08d}.png"
            folder = self._folder()
            write_png(folder / name, picture)
            result = result._replace(payload={"mask": {"file": f"{folder.name}/{name}", "width": width, "height": height}})
        line = result.line()
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._handle, line[written:], self._end + written)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._end)
            raise SinkError(f"{self._plan.target}: expected to write row {result.seq} of {result.stream}, got: {error.strerror}") from None
        self._end += written

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _folder(self) -> Path:
        if self._masks is None:
            path = Path(self._plan.target.removeprefix("file:"))
            self._masks = path.with_suffix(".masks")
            try:
                self._masks.mkdir(exist_ok=True)
            except OSError as error:
                raise SinkError(f"{self._masks}: expected a folder for pictures, got: {error.strerror}") from None
        return self._masks

    def _last_seqs(self) -> dict[str, int]:
        """The seq of the last row of this output, of its stream and of the streams joined to it."""
        for line in _lines_backwards(self._handle, self._end):
            try:
                row = json.loads(line)
                if (row["business"], row["output"]) != (self._plan.business, self._plan.output):
                    continue
                last = {str(other["stream"]): int(other["seq"]) for other in row.get("inputs", ())}
                return last | {str(row["stream"]): int(row["seq"])}
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return {}


def write_png(path: Path, picture: Image) -> None:
    """Writes a gray8, bgr24 or bgra picture, turned upright, whole or not at all. Raises SinkError."""
    import cv2

    if picture.spec.format not in ("gray8", "bgr24", "bgra"):
        raise SinkError(f"{path}: expected a gray8, bgr24 or bgra picture, got {picture.spec}; convert it before the output")
    _, data = cv2.imencode(".png", np.rot90(picture.planes[0], -picture.spec.rotation // 90))
    try:
        part = path.with_suffix(".part")
        part.write_bytes(data.tobytes())
        part.replace(path)
    except OSError as error:
        raise SinkError(f"{path}: expected to write a picture, got: {error.strerror}") from None


def _whole_lines(handle: int) -> int:
    """Length of the file up to its last newline."""
    end = os.fstat(handle).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _lines_backwards(handle: int, end: int) -> Iterator[bytes]:
    """Lines from the last to the first; one longer than MAX_LINE ends the search."""
    rest = b""
    while end > 0 and len(rest) < MAX_LINE:
        start = max(0, end - BLOCK)
        *lines, rest_of_block = (os.pread(handle, end - start, start) + rest).split(b"\n")[::-1]
        yield from (line for line in lines if line)
        rest, end = rest_of_block, start
    if end == 0 and rest:
        yield rest
