"""The program file: a compiled model as one flat file, which workers map read-only and share.

    header   HEADER: magic, sha256 of all after it, bytes of the head, bytes of the file
    head     JSON: signature, names of kernels, steps of the reference, and where the sections lie
    data     packed weights and tables, each at a multiple of `arrays.ALIGNMENT`, SLACK zero bytes behind them
    variants for each number of items: its kernels' words, its calls and its links, all int64

A call is (kernel, rows, first word, words); a link (word, region, number, offset) says that a word is the address of a byte of a region.
A file is checked before anything is taken from it: the digest, every offset, every word that is an address. Words that are addresses are 0
in the file, so that no file can point a kernel outside of the program's memory.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from devices.native.arrays import ALIGNMENT, SLACK, aligned, aligned_bytes, row_bytes
from devices.native.isa import IsaError, isa
from devices.native.kernels.catalogue import catalogue
from devices.native.kernels.kernel import Kernel

if TYPE_CHECKING:
    from devices.native.steps import Interpreted

FORMAT = 1
MAGIC = b"ACE program\n".ljust(15, b"\0") + bytes([FORMAT])
HEADER = struct.Struct("<16s32sQQ")
MAX_HEAD = 2**26
MAX_ARENA = 2**32
CALL, LINK = 4, 4
"""Words of a call, and of a link."""
DATA, ARENA, INPUT, OUTPUT = range(4)
REGIONS = ("data", "arena", "input", "output")
POINTERS = frozenset({"walk", "share", "lead", "attend", "peak_f32"})
"""Kernels that no program calls: their numbers are addresses, or they compute nothing."""
DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float32")


class ImageError(ValueError):
    """Bytes that are no program: expected and got."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its type for one item, and whether it has an item for each of a batch along its first axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    batched: bool = False

    def at(self, items: int) -> Port:
        """The port for so many items."""
        return Port(self.name, self.dtype, (self.shape[0] * items, *self.shape[1:]), True) if self.batched and items != 1 else self

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


Part = "range | Interpreted"


@dataclass(frozen=True, slots=True)
class Variant:
    """What runs for one number of items: `parts` are ranges of `calls` (int64 [n, CALL]) and steps of the reference, in their order."""

    items: int
    arena_bytes: int
    scratch_bytes: int
    words: np.ndarray
    calls: np.ndarray
    links: np.ndarray
    parts: tuple[range | Interpreted, ...]
    compiled: int

    @property
    def interpreted(self) -> int:
        """Steps that the reference does."""
        return sum(not isinstance(part, range) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Image:
    """A program: `variants` by number of items (always one for 1), `data` read-only bytes with SLACK behind them."""

    isa: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    kernels: tuple[str, ...]
    data: np.ndarray
    variants: Mapping[int, Variant]

    @property
    def nbytes(self) -> int:
        """Bytes of weights and tables."""
        return len(self.data) - SLACK


def open_image(path: Path) -> Image:
    """Maps a program file, once all of it was checked. Raises ImageError for a damaged one, OSError for one that cannot be read."""
    with path.open("rb") as file:
        digest, head_bytes, nbytes = _header(file.read(HEADER.size))
        size = file.seek(0, 2)
        if size != nbytes:
            raise ImageError(f"expected {nbytes} bytes, got {size}")
        # Read, not mapped: pages of weights that are not used count for no worker.
        file.seek(HEADER.size)
        _must_be(digest, _digest(file))
        memory = np.frombuffer(mmap.mmap(file.fileno(), nbytes, access=mmap.ACCESS_READ), np.uint8)
    return _read(memory, head_bytes)


def image(content: bytes) -> Image:
    """The program of a file's content. Raises ImageError."""
    digest, head_bytes, nbytes = _header(content[: HEADER.size])
    if len(content) != nbytes:
        raise ImageError(f"expected {nbytes} bytes, got {len(content)}")
    _must_be(digest, hashlib.sha256(memoryview(content)[HEADER.size :]).digest())
    memory = aligned_bytes(nbytes)[:nbytes]
    memory[:] = np.frombuffer(content, np.uint8)
    memory.flags.writeable = False
    return _read(memory, head_bytes)


def written(head: dict[str, Any], sections: Sequence[np.ndarray]) -> bytes:
    """The file with this head, in which sections are named by their number; they are replaced by (offset, bytes)."""
    places = json.dumps(head, separators=(",", ":"))
    start = aligned(HEADER.size + len(places) + 64 * len(sections))  # room for the numbers, which are not known yet
    offsets, end = [], start
    for section in sections:
        offsets.append((end, section.nbytes))
        end = aligned(end + section.nbytes)
    head = {**head, "sections": offsets}
    text = json.dumps(head, separators=(",", ":")).encode()
    assert HEADER.size + len(text) <= start
    body = bytearray(end - HEADER.size)
    body[: len(text)] = text
    for (offset, nbytes), section in zip(offsets, sections, strict=True):
        body[offset - HEADER.size : offset - HEADER.size + nbytes] = section.tobytes()
    return HEADER.pack(MAGIC, hashlib.sha256(body).digest(), len(text), end) + body


def _header(start: bytes) -> tuple[bytes, int, int]:
    if len(start) < HEADER.size or start[: len(MAGIC)] != MAGIC:
        raise ImageError(f"expected a file that begins with {MAGIC!r}, got {start[: len(MAGIC)]!r}")
    _, digest, head_bytes, nbytes = HEADER.unpack(start)
    if not 0 < head_bytes <= min(MAX_HEAD, nbytes - HEADER.size):
        raise ImageError(f"expected a head of at most {MAX_HEAD} bytes in the file's {nbytes}, got {head_bytes}")
    return digest, head_bytes, nbytes


def _digest(file: BinaryIO) -> bytes:
    total = hashlib.sha256()
    while block := file.read(2**18):
        total.update(block)
    return total.digest()


def _must_be(expected: bytes, got: bytes) -> None:
    if expected != got:
        raise ImageError(f"expected content with sha256 {expected.hex()[:16]}…, got {got.hex()[:16]}…")


def _read(memory: np.ndarray, head_bytes: int) -> Image:
    try:
        head = json.loads(memory[HEADER.size : HEADER.size + head_bytes].tobytes())
        target = isa(head["isa"])
        known = catalogue(target)
        names = tuple(head["kernels"])
        if strange := [name for name in names if name not in known or name in POINTERS]:
            raise ImageError(f"expected kernels for {target.name}, got {strange[0]!r}")
        sections = [_section(memory, place) for place in head["sections"]]
        inputs, outputs = (tuple(map(_port, head[role])) for role in ("inputs", "outputs"))
        data = sections[_whole(head["data"], 0, len(sections) - 1)]
        if len(data) < SLACK:
            raise ImageError(f"expected at least {SLACK} bytes of data, got {len(data)}")
        kernels = [known[name] for name in names]
        variants = [_variant(told, sections, kernels, inputs, outputs, len(data) - SLACK) for told in head["variants"]]
    except (AttributeError, IndexError, KeyError, TypeError, IsaError, RecursionError) as error:
        raise ImageError(f"expected a head as `assemble` writes it, got {type(error).__name__}: {error}") from None
    except ValueError as error:
        raise error if isinstance(error, ImageError) else ImageError(str(error)) from None
    found = {variant.items: variant for variant in variants}
    if 1 not in found:
        raise ImageError(f"expected a variant for one item, got {list(found)}")
    return Image(target.name, inputs, outputs, names, data, found)


def _section(memory: np.ndarray, place: Sequence[int]) -> np.ndarray:
    offset, nbytes = place
    _whole(offset, HEADER.size, len(memory))
    _whole(nbytes, 0, len(memory) - offset)
    if offset % ALIGNMENT:
        raise ImageError(f"expected sections at multiples of {ALIGNMENT}, got {offset}")
    return memory[offset : offset + nbytes]


def _port(told: Mapping[str, Any]) -> Port:
    port = Port(str(told["name"]), str(told["dtype"]), tuple(_whole(size, 0, 2**30) for size in told["shape"]), told["batched"] is True)
    if port.dtype not in DTYPES or not 0 <= port.nbytes <= 2**30 or (port.batched and not port.shape):
        raise ImageError(f"expected an array that programs have, got {port}")
    return port


def _variant(
    told: Mapping[str, Any], sections: Sequence[np.ndarray], kernels: Sequence[Kernel], inputs: Sequence[Port], outputs: Sequence[Port],
    data_bytes: int,
) -> Variant:  # fmt: skip
    items = _whole(told["items"], 1, 2**16)
    arena, scratch = _whole(told["arena_bytes"], 0, MAX_ARENA), _whole(told["scratch_bytes"], 0, MAX_ARENA)
    words, calls, links = (sections[_whole(told[name], 0, len(sections) - 1)].view(np.int64) for name in ("words", "calls", "links"))
    calls, links = calls.reshape(-1, CALL), links.reshape(-1, LINK)
    sizes: Sizes = (
        (data_bytes,), (arena,), tuple(aligned(port.at(items).nbytes) for port in inputs),
        tuple(port.at(items).nbytes for port in outputs),
    )  # fmt: skip
    addresses = _check_calls(calls, words, kernels, scratch)
    _check_links(links, words, addresses, sizes)
    parts = tuple(_part(part, len(calls), sizes) for part in told["parts"])
    done = [part for part in parts if isinstance(part, range)]
    if [part.start for part in done] != [0, *(part.stop for part in done)][: len(done)] or (done[-1].stop if done else 0) != len(calls):
        raise ImageError(f"expected parts that are all {len(calls)} calls in order, got {done}")
    return Variant(items, arena, scratch, words, calls, links, parts, _whole(told["compiled"], 0, 2**20))


Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Bytes of each array of each region."""


def _check_calls(calls: np.ndarray, words: np.ndarray, kernels: Sequence[Kernel], scratch: int) -> np.ndarray:
    """Which words are addresses. Raises ImageError."""
    addresses = np.zeros(len(words), bool)
    end = 0
    for number, rows, first, count in calls.tolist():
        kernel = kernels[_whole(number, 0, len(kernels) - 1)]
        fields = kernel.fields
        if first != end or count != len(fields) or first + count > len(words) or not 0 <= rows < 2**40:
            raise ImageError(f"expected {len(fields)} words of {kernel.name} at {end} of {len(words)}, got {count} at {first}, {rows} rows")
        end = first + count
        addresses[first : first + 2 * len(kernel.buffers) : 2] = True
        if "scratch_bytes" in fields and not 0 <= words[first + fields.index("scratch_bytes")] <= scratch:
            raise ImageError(f"expected {kernel.name} to take at most {scratch} bytes of scratch memory, got more")
    if end != len(words):
        raise ImageError(f"expected calls that take all {len(words)} words, got {end}")
    return addresses


def _check_links(links: np.ndarray, words: np.ndarray, addresses: np.ndarray, sizes: Sizes) -> None:
    """Raises ImageError where a link leaves its region, or where an address is none of a link."""
    at, linked = links[:, 0], np.zeros(len(words), bool)
    if len(at) and (at.min() < 0 or at.max() >= len(words) - 1 or not addresses[at].all()):
        raise ImageError("expected links of words that are addresses, got another one")
    linked[at] = True
    if linked.sum() != len(at):
        raise ImageError("expected one link a word, got two")
    if words[addresses].any() or words[np.flatnonzero(addresses & ~linked) + 1].any():
        raise ImageError("expected addresses to be of links only, got another one")
    for word, region, number, offset in links.tolist():
        _inside(sizes, region, number, offset, int(words[word + 1]))


def _inside(sizes: Sizes, region: int, number: int, offset: int, nbytes: int) -> None:
    known = sizes[_whole(region, 0, len(REGIONS) - 1)]
    room = known[_whole(number, 0, len(known) - 1)]
    if offset < 0 or nbytes < 0 or offset + nbytes > room:
        raise ImageError(f"expected at most {room} bytes of {REGIONS[region]}, got {nbytes} from {offset} on")


def _part(told: Any, calls: int, sizes: Sizes) -> range | Interpreted:
    if isinstance(told, list):
        begin, end = told
        return range(_whole(begin, 0, calls), _whole(end, 0, calls))
    from devices.native.steps import interpreted

    step = interpreted(told)
    for place in (*step.inputs, step.output):
        if place.type.rank and place.stride < place.type.shape[-1]:
            raise ImageError(f"expected rows of {place.type} that do not overlap, got {place.stride} elements a row")
        _inside(sizes, place.region, place.number, place.offset, row_bytes(place.type, place.stride))
    return step


def _whole(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ImageError(f"expected a whole number from {low} to {high}, got {str(value)[:40]}")
    return value
