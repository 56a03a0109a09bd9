"""What travels on an edge: a fixed head, one fixed item a port, and a small payload area. No pickle, no JSON.

Pictures and tensors stay in their slot and only its descriptor travels; records are copied, they are small.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any, get_args

import numpy as np

from devices.spec import PIXEL_FORMATS, ImageSpec, ManySpec, Matrix, RecordsSpec, Spec, TensorsSpec
from flow.pool import Pool, SlotRef
from ops.value import Frame, Image, Many, Tensors, Value

HEAD = struct.Struct("<BBHIqqqqHH")
JOINED = struct.Struct("<Hqq")
ITEM = struct.Struct("<B3xIIIII")
PICTURE = struct.Struct("<IIBBBB6d")
AFFINE = struct.Struct("<6d")
MATRICES: tuple[Matrix, ...] = get_args(Matrix)

RESET, FINAL = 1, 2


class Kind(IntEnum):
    """What an entry says: a frame; no frame up to `seq` will come; the stream has ended."""

    FRAME = 1
    BOUND = 2
    END = 3


class Overflow(Exception):
    """A value that is larger than its operator declared."""


class EntryError(Exception):
    """Bytes that are no entry of this edge."""


@dataclass(slots=True)
class Entry:
    """One message. `values` are in the order of the edge's refs, None where a port has no value for this frame.

    `capture_ns` is the monotonic clock at capture; `joined` are (stream, seq, pts_ns) of all frames that met in a join; `slots` are
    held while the entry is.
    """

    kind: Kind
    stream: int
    epoch: int
    seq: int
    pts_ns: int
    time_ns: int | None
    capture_ns: int
    flags: int = 0
    values: tuple[Value | None, ...] = ()
    joined: tuple[tuple[int, int, int], ...] = ()
    slots: list[SlotRef] = field(default_factory=list)

    def frame(self, stream: str) -> Frame:
        return Frame(stream, self.seq, self.pts_ns, self.epoch, self.time_ns)

    def release(self) -> None:
        """Gives up the slots this entry holds."""
        for ref in self.slots:
            ref.pool.release(ref)
        self.slots.clear()


@lru_cache(maxsize=256)
def _image_spec(width: int, height: int, format: int, full: int, matrix: int, rotation: int, domain: str) -> ImageSpec:
    return ImageSpec(width, height, PIXEL_FORMATS[format], bool(full), MATRICES[matrix], rotation * 90, domain)  # type: ignore[arg-type]


def picture_bytes(image: Image) -> bytes:
    """What travels of a picture beside its slot."""
    spec, t = image.spec, image.transform
    return PICTURE.pack(
        spec.width, spec.height, PIXEL_FORMATS.index(spec.format), spec.full_range, MATRICES.index(spec.matrix), spec.rotation // 90,
        t[0, 0], t[0, 1], t[0, 2], t[1, 0], t[1, 1], t[1, 2],
    )  # fmt: skip


def _affine(numbers: Sequence[float]) -> np.ndarray:
    return np.array(numbers).reshape(2, 3)


Place = Callable[[int], tuple[SlotRef, np.ndarray]]
"""Gives a slot of at least so many bytes, for a value that does not lie in one yet."""


class PortCodec:
    """Writes and reads the values of one port as its spec says."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.many = isinstance(spec, ManySpec)
        self.item: ImageSpec | TensorsSpec | RecordsSpec = spec.item if isinstance(spec, ManySpec) else spec
        self.stride = -(-self.item.nbytes // 64) * 64
        self.capacity = spec.capacity if isinstance(spec, ManySpec) else 1
        self.dtype = self.item.dtype if isinstance(self.item, RecordsSpec) else None

    def encode(self, value: Any, place: Place) -> tuple[SlotRef | None, bytes]:
        """(slot, inline bytes). Raises Overflow."""
        if not self.many:
            ref = None if self.dtype is not None else self._slot([value], place)
            return ref, self._inline(value)
        items = value.items
        if len(items) > self.capacity:
            raise Overflow(f"expected at most {self.capacity} items, got {len(items)}")
        ref = None if self.dtype is not None or not items else self._slot(items, place)
        parts = [struct.pack(f"<I{len(items)}i", len(items), *value.parents)]
        for item in items:
            inline = self._inline(item)
            parts += (struct.pack("<I", len(inline)), inline)
        return ref, b"".join(parts)

    def _inline(self, value: Any) -> bytes:
        match self.item:
            case RecordsSpec():
                if len(value) > self.item.capacity:
                    raise Overflow(f"expected at most {self.item.capacity} {self.item.record}, got {len(value)}")
                if value.dtype != self.dtype:
                    raise Overflow(f"expected records of {self.dtype}, got {value.dtype}")
                return bytes(value.tobytes())
            case ImageSpec():
                return picture_bytes(value)
            case _:
                return AFFINE.pack(*value.transform.flat)

    def _slot(self, items: list[Any], place: Place) -> SlotRef:
        """The slot that already holds all the items, or a new one they are copied to."""
        ref = items[0].slot
        if isinstance(ref, SlotRef) and all(item.slot is ref for item in items):
            ref.pool.hold(ref)
            return ref
        sizes = [item.spec.nbytes if isinstance(item, Image) else self.item.nbytes for item in items]
        if self.many and max(sizes) > self.stride:
            raise Overflow(f"expected items of at most {self.stride} bytes, got {max(sizes)}")
        ref, memory = place(sizes[0] if not self.many else self.stride * len(items))
        for index, item in enumerate(items):
            target = memory[index * self.stride :]
            if isinstance(item, Image):
                for source, plane in zip(item.planes, item.spec.split(target), strict=True):
                    np.copyto(plane, source)
            else:
                assert isinstance(self.item, TensorsSpec)
                for name, array in self.item.split(target).items():
                    source = item.arrays[name]
                    if source.shape != array.shape:
                        raise Overflow(f"expected tensor {name} of shape {array.shape}, got {source.shape}")
                    np.copyto(array, source)
        return ref

    def decode(self, inline: memoryview, ref: SlotRef | None) -> Value:
        """The value over the received bytes and slot, without a copy. Raises EntryError."""
        try:
            if not self.many:
                single: Value = self._value(inline, ref, 0)
                return single
            (count,) = struct.unpack_from("<I", inline)
            if count > self.capacity:
                raise EntryError(f"expected at most {self.capacity} items, got {count}")
            parents = list(struct.unpack_from(f"<{count}i", inline, 4))
            start, items = 4 + 4 * count, []
            for index in range(count):
                (length,) = struct.unpack_from("<I", inline, start)
                items.append(self._value(inline[start + 4 : start + 4 + length], ref, index))
                start += 4 + length
            return Many(items, parents)
        except (struct.error, ValueError, IndexError) as error:
            raise EntryError(f"a value of {self.spec} does not decode: {error}") from error

    def _value(self, inline: memoryview, ref: SlotRef | None, index: int) -> Any:
        if self.dtype is not None:
            return np.frombuffer(inline, self.dtype)
        if ref is None:
            raise EntryError(f"a value of {self.spec} came without a slot")
        memory = ref.pool.view(ref.slot)[index * self.stride :]
        if isinstance(self.item, ImageSpec):
            fields = PICTURE.unpack(inline)
            spec = _image_spec(*fields[:6], self.item.domain)
            if spec.nbytes > len(memory):
                raise EntryError(f"{spec} does not fit into a slot of {len(memory)} bytes")
            return Image(spec, spec.split(memory), _affine(fields[6:]), ref)
        assert isinstance(self.item, TensorsSpec)
        return Tensors(self.item.split(memory), _affine(AFFINE.unpack(inline)), ref)


def most_bytes(ports: int, streams: int, payload: int) -> int:
    """The most bytes that an entry of an edge has."""
    return HEAD.size + JOINED.size * streams + ITEM.size * ports + payload


def named_slots(data: bytes) -> tuple[Kind, list[tuple[int, int, int]]]:
    """Kind of an entry, and (pool, slot, generation) of what it names, without its values. Raises EntryError."""
    try:
        kind, *_, count, joined = HEAD.unpack_from(data)
        table = HEAD.size + JOINED.size * joined
        items = [ITEM.unpack_from(data, table + ITEM.size * index) for index in range(count)]
        return Kind(kind), [(pool, slot, generation) for tag, pool, slot, generation, _, _ in items if tag == 2]
    except (struct.error, ValueError) as error:
        raise EntryError(f"{len(data)} bytes that are no entry: {error}") from error


class EdgeCodec:
    """Writes and reads the entries of one edge. `payload` bounds the bytes that travel beside descriptors."""

    def __init__(self, specs: Sequence[Spec], payload: int) -> None:
        self.ports = [PortCodec(spec) for spec in specs]
        self.payload = payload

    def encode(self, entry: Entry, places: Sequence[Place]) -> bytes:
        """The entry as bytes; the slots it names are held and noted in `entry.slots`. Raises Overflow (nothing is held then)."""
        head = HEAD.pack(
            entry.kind, entry.flags, entry.stream, entry.epoch, entry.seq, entry.pts_ns,
            -1 if entry.time_ns is None else entry.time_ns, entry.capture_ns, len(entry.values), len(entry.joined),
        )  # fmt: skip
        items, parts, offset = [JOINED.pack(*one) for one in entry.joined], [], 0
        try:
            for port, place, value in zip(self.ports, places, entry.values, strict=False):
                if value is None:
                    items.append(ITEM.pack(0, 0, 0, 0, 0, 0))
                    continue
                ref, inline = port.encode(value, place)
                if ref is not None:
                    entry.slots.append(ref)
                    items.append(ITEM.pack(2, ref.pool.shape.id, ref.slot, ref.generation, offset, len(inline)))
                else:
                    items.append(ITEM.pack(1, 0, 0, 0, offset, len(inline)))
                parts.append(inline)
                offset += len(inline)
            if offset > self.payload:
                raise Overflow(f"expected a payload of at most {self.payload} bytes, got {offset}")
        except BaseException:
            entry.release()
            raise
        return b"".join((head, *items, *parts))

    def decode(self, data: memoryview, pools: Mapping[int, Pool]) -> Entry:
        """The entry over these bytes, its slots held. Raises EntryError or PoolError (nothing is held then)."""
        try:
            kind, flags, stream, epoch, seq, pts, time, capture, count, joined = HEAD.unpack_from(data)
            entry = Entry(Kind(kind), stream, epoch, seq, pts, None if time < 0 else time, capture, flags)
            entry.joined = tuple(JOINED.unpack_from(data, HEAD.size + JOINED.size * place) for place in range(joined))
        except (struct.error, ValueError) as error:
            raise EntryError(f"{len(data)} bytes that are no entry: {error}") from error
        if entry.kind is not Kind.FRAME:
            return entry
        if count != len(self.ports):
            raise EntryError(f"expected {len(self.ports)} values, got {count}")
        table = HEAD.size + JOINED.size * joined
        start = table + ITEM.size * count
        values: list[Value | None] = []
        try:
            for index, port in enumerate(self.ports):
                tag, pool, slot, generation, offset, length = ITEM.unpack_from(data, table + ITEM.size * index)
                if tag == 0:
                    values.append(None)
                    continue
                ref = None
                if tag == 2:
                    if pool not in pools:
                        raise EntryError(f"expected a pool this worker has, got {pool}")
                    ref = pools[pool].receive(slot, generation)
                    entry.slots.append(ref)
                values.append(port.decode(data[start + offset : start + offset + length], ref))
        except struct.error as error:
            entry.release()
            raise EntryError(f"a truncated entry: {error}") from error
        except BaseException:
            entry.release()
            raise
        entry.values = tuple(values)
        return entry
