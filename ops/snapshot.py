"""An operator's state as bytes for its successor: flat arrays behind a header that is checked, no pickle."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np

HEADER = struct.Struct("<4s32sHHI")
"""Magic, operator, version, number of arrays, CRC-32 of all that follows."""
MAGIC = b"ACES"


def pack(op: str, version: int, arrays: Mapping[str, np.ndarray]) -> bytes:
    """1-D arrays, in their order, as bytes. Names and dtypes are not stored: `unpack` must be given the same."""
    lengths = np.array([len(array) for array in arrays.values()], "<u4").tobytes()
    body = lengths + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    return HEADER.pack(MAGIC, op.encode(), version, len(arrays), zlib.crc32(body)) + body


def unpack(op: str, version: int, dtypes: Mapping[str, np.dtype[np.void] | str], state: bytes) -> dict[str, np.ndarray]:
    """What `pack` was given, as arrays of one's own. Raises ValueError, expected and got, for bytes that are anything else."""
    if len(state) < HEADER.size:
        raise ValueError(f"state of {op}: expected at least {HEADER.size} bytes, got {len(state)}")
    magic, name, got, count, crc = HEADER.unpack_from(state)
    owner = name.rstrip(b"\0").decode(errors="replace")
    if magic != MAGIC or owner != op or got != version or count != len(dtypes):
        raise ValueError(f"state of {op}: expected version {version} of {op}, got version {got} of {owner!r}")
    body = state[HEADER.size :]
    if zlib.crc32(body) != crc:
        raise ValueError(f"state of {op}: the bytes are damaged (CRC-32 differs)")
    start = 4 * count
    if len(body) < start:
        raise ValueError(f"state of {op}: expected the lengths of {count} arrays, got {len(body)} bytes")
    lengths = np.frombuffer(body, "<u4", count)
    sizes = [int(length) * np.dtype(dtype).itemsize for length, dtype in zip(lengths, dtypes.values(), strict=True)]
    if len(body) != start + sum(sizes):
        raise ValueError(f"state of {op}: expected {start + sum(sizes)} bytes of arrays, got {len(body)}")
    arrays = {}
    for (key, dtype), length, size in zip(dtypes.items(), lengths, sizes, strict=True):
        arrays[key] = np.frombuffer(body, dtype, int(length), start).copy()
        start += size
    return arrays
