"""The source contract: what delivers pictures, and what it says of them before the first one flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from devices.spec import ImageSpec


class SourceError(Exception):
    """A source that cannot be opened, or breaks: says which source, expected, got and what to do next."""


class SourceAwayError(SourceError):
    """A live source that does not answer now and may later: no route, refused, silent, unplugged."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a source is: its largest picture, frames a second, number of frames where known, and whether it is live.

    `kept`: how many pictures it has in memory that it shows again and again.
    """

    spec: ImageSpec
    fps: float
    live: bool
    frames: int | None = None
    kept: int = 0


@dataclass(slots=True)
class Picture:
    """One decoded picture. `planes` are uint8 views shaped as `spec.planes` (strides free), valid until the next read.

    `pts_ns` is the source's own timestamp (None: it has none); `time_ns` the UTC capture time (None for files);
    `mono_ns` is `time.monotonic_ns()` at capture where the source knows it better than its reader does.

    `kept`: number (from 0, below the probe's `kept`) of a picture of the probe's spec that is shown again and again and never changes; its
    planes stay valid. A live one is written once to where consumers read it, and from then on only named. -1: the picture is a new one.
    """

    spec: ImageSpec
    planes: tuple[np.ndarray, ...]
    pts_ns: int | None
    time_ns: int | None = None
    mono_ns: int | None = None
    kept: int = -1


class Reader(Protocol):
    """An open source. One that can meet damaged pictures skips them and counts them in an int attribute `corrupt`.

    A live source whose end is meant, and no loss of connection, has an attribute `complete` that is true then.

    A reader that makes its pictures itself may have a method `fill(planes) -> Picture | None` beside `read`: it writes the next picture
    into `planes` (uint8, shaped as the probe's spec says), which lie where consumers read them, and gives a Picture with these planes.
    Nothing else happens in its worker meanwhile, so it must not wait for anything but its time.
    """

    def read(self) -> Picture | None:
        """The next picture, waiting for it as long as a picture takes; None at the end. Raises SourceError."""
        ...

    def close(self) -> None:
        """Frees the source; may be called from another thread to end a waiting `read`."""
        ...


class Source(Protocol):
    """One kind of source, found through the entry point group `ace.sources`."""

    scheme: ClassVar[str]

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        """Looks at the source without keeping it open. `options`: size, fps of the Device manifest. Raises SourceError."""
        ...

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Reader:
        """Opens it for reading. Raises SourceError, or leaves that to the first `read` where opening takes time."""
        ...
