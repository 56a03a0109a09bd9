"""How pictures travel over ZeroMQ between programs: one message (one part) a frame.

    a line of JSON, UTF-8, at most 4096 bytes with its newline:
        {"ace": 1, "width": 640, "height": 480, "format": "bgr24", "full_range": false, "matrix": "bt601", "rotation": 0,
         "pts_ns": 0, "time_ns": 1700000000000000000, "fps": 25.0}
    then the planes of the format, one after another, uint8, rows without padding.

`ace`, `width`, `height` and `format` are required; `pts_ns` is the sender's own clock, `time_ns` the UTC capture time. The line
{"ace": 1, "end": true} alone ends the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.spec import ImageSpec, Matrix, PixelFormat

END = b'{"ace": 1, "end": true}\n'
MAX_HEADER = 4096
MAX_SIDE = 16384
MAX_MESSAGE = (1 << 27) + MAX_HEADER
"""Bytes of the largest message: 8K UHD in four channels. ZeroMQ would gather any number of parts, but holds one part to its bound."""

_Time = Annotated[int, Field(ge=0, lt=1 << 63)]


class WireError(ValueError):
    """A message that is no frame: expected and got."""


class Header(BaseModel):
    """The first line of a message."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    ace: Literal[1]
    width: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    format: PixelFormat
    full_range: bool = False
    matrix: Matrix = "bt601"
    rotation: Literal[0, 90, 180, 270] = 0
    pts_ns: _Time | None = None
    time_ns: _Time | None = None
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None

    @property
    def spec(self) -> ImageSpec:
        """The picture that follows."""
        return ImageSpec(self.width, self.height, self.format, self.full_range, self.matrix, self.rotation)


def pack(header: Header, planes: Sequence[np.ndarray]) -> bytes:
    """One message. `planes` are uint8 arrays shaped as the header's spec says. Raises WireError."""
    expected = header.spec.planes
    got = tuple(plane.shape for plane in planes)
    if got != expected or any(plane.dtype != np.uint8 for plane in planes):
        raise WireError(f"expected uint8 planes of {expected}, got {got} of {', '.join(sorted({str(plane.dtype) for plane in planes}))}")
    line = header.model_dump_json(exclude_none=True).encode()
    return b"".join([line, b"\n", *(np.ascontiguousarray(plane).data for plane in planes)])


def unpack(message: memoryview) -> tuple[Header, tuple[np.ndarray, ...]] | None:
    """Header and planes (views of the message); None for the end of a stream. Raises WireError."""
    head = bytes(message[:MAX_HEADER])
    if head == END:
        return None
    end = head.find(b"\n")
    if end < 0:
        raise WireError(f"expected a line of JSON of at most {MAX_HEADER} bytes, got none")
    try:
        header = Header.model_validate_json(head[:end])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WireError(f"header: {'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}") from None
    pixels = np.frombuffer(message, np.uint8)[end + 1 :]
    if pixels.size != header.spec.nbytes:
        raise WireError(f"expected {header.spec.nbytes} bytes of pixels for {header.spec}, got {pixels.size}")
    return header, header.spec.split(pixels)
