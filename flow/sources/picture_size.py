"""Width and height of a picture file from its header, so that a folder is measured without decoding it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MAX_SEGMENTS = 1000


def picture_size(path: Path) -> tuple[int, int] | None:
    """(width, height) as stored, of a PNG or JPEG file; None for other formats and for broken headers. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(24)
        if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and len(head) == 24:
            return struct.unpack(">II", head[16:24])
        if head[:2] == b"\xff\xd8":
            file.seek(2)
            return _jpeg(file)
    return None


def _jpeg(file: BinaryIO) -> tuple[int, int] | None:
    """Walks the marker segments of ITU-T T.81, annex B, to the frame header."""
    for _ in range(_MAX_SEGMENTS):
        segment = file.read(4)
        while segment[:2] == b"\xff\xff":  # fill bytes before a marker
            segment = segment[1:] + file.read(1)
        if len(segment) < 4 or segment[0] != 0xFF:
            return None
        marker, length = segment[1], int.from_bytes(segment[2:])
        if marker in _START_OF_FRAME:
            frame = file.read(5)
            if len(frame) < 5:
                return None
            height, width = struct.unpack(">HH", frame[1:])
            return width, height
        file.seek(max(length, 2) - 2, 1)
    return None
