"""The container: a ZIP of stored entries, written in exactly one way and read without trusting a single field of it.

Layout (PKWARE APPNOTE 6.3): local header, name, padding, content for each entry; then the central directory and its end record. The first
entry is `bundle.json`, the others follow sorted by name, contents begin at multiples of 64 bytes, times are 1980-01-01. A reader
accepts this form only: every byte of the file is either content that bundle.json describes or a byte that follows from it.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from manifests.bundle.canonical import BundleError

ALIGN = 64
MAX_ENTRIES = 8192
MAX_NAME = 128
MAX_FILE = (1 << 32) - 2
MAX_DIRECTORY = 4 << 20
CHUNK = 1 << 20

LOCAL = struct.Struct("<IHHHHHIIIHH")
CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
END = struct.Struct("<IHHHHIIH")
LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC = 0x04034B50, 0x02014B50, 0x06054B50
VERSION, FLAGS, STORED, TIME, DATE = 20, 0x0800, 0, 0, 0x21
PADDING_ID = 0x4143
"""Our extra field of zeros in front of a content ("AC")."""
MODE = (stat.S_IFREG | 0o644) << 16
MADE_BY = 3 << 8 | VERSION

Opener = Callable[[], BinaryIO]


def write(target: BinaryIO, entries: Mapping[str, bytes | Opener], first: str = "bundle.json", last: str = "") -> None:
    """Writes the entries, `first` first, `last` last, all others sorted. Raises BundleError when the bounds of the format are passed."""
    names = [first, *sorted(set(entries) - {first, last}), *([last] if last else [])]
    if len(names) > MAX_ENTRIES:
        raise BundleError(f"expected at most {MAX_ENTRIES} entries in a bundle, got {len(names)}")
    directory = io.BytesIO()
    at = 0
    for name in names:
        encoded = _name(name)
        crc, size = _measure(entries[name])
        extra = _padding(at + LOCAL.size + len(encoded))
        content = at + LOCAL.size + len(encoded) + len(extra)
        if content + size > MAX_FILE:
            raise BundleError(f"expected a bundle below {MAX_FILE} bytes, got more at {name}; split it into several")
        target.write(LOCAL.pack(LOCAL_MAGIC, VERSION, FLAGS, STORED, TIME, DATE, crc, size, size, len(encoded), len(extra)))
        target.write(encoded + extra)
        for part in _parts(entries[name]):
            target.write(part)
        directory.write(_central(encoded, crc, size, at))
        at = content + size
    target.write(directory.getvalue())
    target.write(END.pack(END_MAGIC, 0, 0, len(names), len(names), directory.tell(), at, 0))


class Archive:
    """An open bundle file: where the content of each entry lies. Raises BundleError for any file that `write` would not have written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
        self._file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        try:
            self.entries: Mapping[str, tuple[int, int, int]] = self._read()
            """name: offset, size, CRC-32 of its content."""
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """The content from `offset` on, in parts of at most 1 MiB. It is not checked here: its digest is."""
        start, size, _ = self.entries[name]
        at, end = start + offset, start + size
        while at < end:
            part = os.pread(self._file.fileno(), min(CHUNK, end - at), at)
            if not part:
                raise BundleError(f"{self.path}: expected {end - at} more bytes of {name}, got the end of the file")
            yield part
            at += len(part)

    def read(self, name: str, limit: int) -> bytes:
        """The whole content. Raises BundleError for one of more than `limit` bytes."""
        if self.entries[name][1] > limit:
            raise BundleError(f"{self.path}: {name}: expected at most {limit} bytes, got {self.entries[name][1]}")
        return b"".join(self.chunks(name))

    def sha256(self, name: str) -> str:
        """Digest of the content, whose CRC-32 is checked on the way. Raises BundleError."""
        whole, crc = hashlib.sha256(), 0
        for part in self.chunks(name):
            whole.update(part)
            crc = zlib.crc32(part, crc)
        if crc != self.entries[name][2]:
            raise self._wrong(f"CRC-32 {self.entries[name][2]:08x} of {name}", f"{crc:08x}")
        return whole.hexdigest()

    def _wrong(self, expected: str, got: str) -> BundleError:
        return BundleError(f"{self.path}: expected {expected}, got {got}; is it a bundle that `ace pack` wrote, and whole?")

    def _read(self) -> dict[str, tuple[int, int, int]]:
        status = os.fstat(self._file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise self._wrong("a regular file", "something else")
        if status.st_size > MAX_FILE + MAX_DIRECTORY + END.size:
            raise self._wrong(f"at most {MAX_FILE} bytes", str(status.st_size))
        count, directory, start = self._end(status.st_size)
        entries: dict[str, tuple[int, int, int]] = {}
        at = taken = 0
        previous = b""
        for index in range(count):
            if len(directory) - taken < CENTRAL.size:
                raise self._wrong(f"a directory of {count} entries", f"one that ends in entry {index}")
            fields = CENTRAL.unpack_from(directory, taken)
            crc, size, length = fields[7], fields[8], fields[10]
            name = directory[taken + CENTRAL.size : taken + CENTRAL.size + length]
            if not 0 < length <= MAX_NAME or not _plain(name):
                raise self._wrong("names of plain characters", repr(name[:MAX_NAME]))
            if directory[taken : taken + CENTRAL.size + length] != _central(name, crc, size, at):
                raise self._wrong(f"entry {index} to be written as bundles are", "another form of it in the directory")
            if index > 1 and name <= previous and not (index == count - 1 and name.decode() == UPDATE):
                raise self._wrong("every name once, in order", f"{name.decode()} after {previous.decode()}")
            taken += CENTRAL.size + length
            content = self._local(at, name, crc, size, start)
            entries[name.decode()] = (content, size, crc)
            previous, at = name, content + size
        if taken != len(directory) or at != start:
            raise self._wrong("nothing beside the entries", f"{len(directory) - taken + start - at} bytes")
        if len(entries) != count:
            raise self._wrong("every name once", "one twice")
        return entries

    def _end(self, size: int) -> tuple[int, bytes, int]:
        """Number of entries, the central directory, where it starts."""
        if size < END.size:
            raise self._wrong(f"at least {END.size} bytes", str(size))
        magic, disk, other, here, count, length, start, comment = END.unpack(os.pread(self._file.fileno(), END.size, size - END.size))
        if (magic, disk, other, comment) != (END_MAGIC, 0, 0, 0) or here != count:
            raise self._wrong("the end of a ZIP without comment", "something else")
        if not 0 < count <= MAX_ENTRIES or length > MAX_DIRECTORY or start + length + END.size != size:
            raise self._wrong("a directory that fills the file's end", f"{count} entries in {length} bytes at {start}")
        return count, os.pread(self._file.fileno(), length, start), start

    def _local(self, at: int, name: bytes, crc: int, size: int, start: int) -> int:
        """Where the content begins, its local header being what the directory says."""
        extra = _padding(at + LOCAL.size + len(name))
        header = LOCAL.pack(LOCAL_MAGIC, VERSION, FLAGS, STORED, TIME, DATE, crc, size, size, len(name), len(extra))
        wanted = header + name + extra
        if os.pread(self._file.fileno(), len(wanted), at) != wanted or at + len(wanted) + size > start:
            raise self._wrong(f"the header of {name.decode()} to say what the directory says", "another one")
        return at + len(wanted)


UPDATE = "update.json"
"""The one entry that bundle.json does not describe, the last: the signed desired state of an update file."""


def _name(name: str) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME or not _plain(encoded):
        raise BundleError(f"expected a name of plain characters, got {name!r}")
    return encoded


def _plain(name: bytes) -> bool:
    text = name.decode("ascii", "replace")
    return all(
        part and part[0] != "." and part.replace(".", "").replace("-", "").replace("_", "").isalnum() for part in text.split("/")
    ) and (text.isascii())


def _padding(end: int) -> bytes:
    """An extra field so that what comes after it begins at a multiple of ALIGN; none where it does already."""
    gap = -end % ALIGN
    if not gap:
        return b""
    gap += ALIGN if gap < 4 else 0
    return struct.pack("<HH", PADDING_ID, gap - 4) + bytes(gap - 4)


def _central(name: bytes, crc: int, size: int, at: int) -> bytes:
    fixed = (CENTRAL_MAGIC, MADE_BY, VERSION, FLAGS, STORED, TIME, DATE, crc, size, size, len(name), 0, 0, 0, 0, MODE, at)
    return CENTRAL.pack(*fixed) + name


def _parts(content: bytes | Opener) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content() as stream:
        while part := stream.read(CHUNK):
            yield part


def _measure(content: bytes | Opener) -> tuple[int, int]:
    """CRC-32 and size."""
    crc = size = 0
    for part in _parts(content):
        crc = zlib.crc32(part, crc)
        size += len(part)
    return crc, size
