"""What travels on an edge comes out as it went in; what does not fit, or is no entry, is refused without a slot being lost."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, TensorSpec, TensorsSpec
from flow import pool
from flow.entry import EdgeCodec, Entry, EntryError, Kind, Overflow
from flow.pool import Pool, PoolError, PoolShape, SlotRef
from ops.value import Image, Many, Tensors

DETECTIONS = RecordsSpec("detections", 10, ("cat", "dog"))
PICTURE = ImageSpec(8, 6, "bgr24")
TENSORS = TensorsSpec((("a", TensorSpec("float32", (2, 3))), ("b", TensorSpec("int64", (4,)))))


class Ends:
    """An owner and a consumer of one pool."""

    def __init__(self, slots: int = 3, slot_bytes: int = 4096) -> None:
        shape = PoolShape(5, slots, slot_bytes, 2)
        data, table = pool.allocate(shape)
        self.owner = Pool(shape, os.dup(data), os.dup(table), 0)
        self.consumer = Pool(shape, pool.read_only(data), table, 1)
        os.close(data)

    def place(self, nbytes: int) -> tuple[SlotRef, np.ndarray]:
        ref = self.owner.acquire()
        assert ref is not None
        assert nbytes <= ref.pool.shape.slot_bytes
        return ref, self.owner.view(ref.slot)


def frame(*values: object, **fields: object) -> Entry:
    return Entry(Kind.FRAME, 1, 0, 7, 280_000_000, None, 123, values=values, **fields)  # type: ignore[arg-type]


def through(spec: Spec, value: object) -> tuple[Entry, Ends]:
    ends = Ends()
    codec = EdgeCodec([spec], 65536)
    data = codec.encode(frame(value), [ends.place])
    return codec.decode(memoryview(data), {5: ends.consumer}), ends


def boxes(count: int) -> np.ndarray:
    records = np.zeros(count, DETECTIONS.dtype)
    records["box"] = np.arange(4 * count).reshape(count, 4)
    records["score"] = np.linspace(0, 1, count)
    return records


@given(st.integers(0, 10))
def test_records_travel_beside_the_descriptor(count: int) -> None:
    entry, ends = through(DETECTIONS, boxes(count))
    assert np.array_equal(entry.values[0], boxes(count))
    assert not entry.slots
    assert ends.owner.available() == 3


def test_a_picture_travels_in_its_slot_with_its_place_in_the_source() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    sent = Image.from_array(pixels)
    sent.transform = np.array([[2.0, 0.0, -1.0], [0.0, 2.0, 5.0]])
    entry, ends = through(PICTURE, sent)
    got = entry.values[0]
    assert isinstance(got, Image)
    assert got.spec == PICTURE
    assert np.array_equal(got.planes[0], pixels)
    assert np.array_equal(got.transform, sent.transform)
    assert ends.consumer.holds() == 1
    entry.release()
    assert ends.consumer.holds() == 0


def test_a_picture_that_lies_in_a_slot_is_passed_on_without_a_copy() -> None:
    ends = Ends()
    ref, memory = ends.place(PICTURE.nbytes)
    image = Image(PICTURE, PICTURE.split(memory), slot=ref)

    def refuse(nbytes: int) -> tuple[SlotRef, np.ndarray]:
        raise AssertionError("no new slot is needed")

    codec = EdgeCodec([PICTURE, PICTURE], 65536)
    entry = frame(image, image)
    codec.encode(entry, [refuse, refuse])
    assert [one.slot for one in entry.slots] == [ref.slot, ref.slot]
    assert ends.owner.holds() == 3


def test_tensors_and_lists_come_out_as_they_went_in() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4)}
    entry, _ = through(TENSORS, Tensors(arrays))
    got = entry.values[0]
    assert isinstance(got, Tensors)
    assert all(np.array_equal(got.arrays[name], array) for name, array in arrays.items())

    crops = [Image.from_array(np.full((6, 8, 3), number, np.uint8)) for number in range(3)]
    entry, _ = through(ManySpec(PICTURE, 4), Many(crops, [2, 0, 5]))
    many = entry.values[0]
    assert isinstance(many, Many)
    assert many.parents == [2, 0, 5]
    assert [int(item.planes[0][0, 0, 0]) for item in many.items] == [0, 1, 2]

    entry, _ = through(ManySpec(DETECTIONS, 4), Many([boxes(2), boxes(0)], [0, 1]))
    many = entry.values[0]
    assert isinstance(many, Many)
    assert [len(item) for item in many.items] == [2, 0]
    entry, _ = through(ManySpec(PICTURE, 4), Many([], []))
    assert entry.values[0] == Many([], [])


def test_a_missing_value_and_a_join_travel_too() -> None:
    codec = EdgeCodec([DETECTIONS, DETECTIONS], 65536)
    sent = frame(None, boxes(1), joined=((0, 7, 280), (2, 5, 270)), flags=1)
    got = codec.decode(memoryview(codec.encode(sent, [lambda n: None, lambda n: None])), {})  # type: ignore[arg-type, return-value]
    assert got.values[0] is None
    assert got.joined == sent.joined
    assert (got.stream, got.seq, got.pts_ns, got.time_ns, got.capture_ns, got.flags) == (1, 7, 280_000_000, None, 123, 1)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (DETECTIONS, np.zeros(11, DETECTIONS.dtype)),
        (DETECTIONS, np.zeros(1, RecordsSpec("points", 1).dtype)),
        (ManySpec(PICTURE, 1), Many([Image.from_array(np.zeros((6, 8, 3), np.uint8))] * 2, [0, 0])),
        (TENSORS, Tensors({"a": np.zeros((1, 3), np.float32), "b": np.arange(4)})),
    ],
)
def test_what_is_larger_than_declared_overflows_and_holds_nothing(spec: Spec, value: object) -> None:
    ends = Ends()
    entry = frame(boxes(1), value)
    with pytest.raises(Overflow, match="expected"):
        EdgeCodec([DETECTIONS, spec], 65536).encode(entry, [ends.place, ends.place])
    assert not entry.slots


def test_a_payload_beyond_its_bound_overflows() -> None:
    with pytest.raises(Overflow, match="at most 100 bytes"):
        EdgeCodec([DETECTIONS], 100).encode(frame(boxes(10)), [lambda n: None])  # type: ignore[arg-type, return-value]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    ends = Ends()
    codec = EdgeCodec([DETECTIONS, PICTURE], 4096)
    try:
        entry = codec.decode(memoryview(data), {5: ends.consumer})
    except (EntryError, PoolError):
        assert ends.consumer.holds() == 0
    else:
        entry.release()
        assert ends.consumer.holds() == 0


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_entry_never_reads_beyond_its_slot(place: int, value: int) -> None:
    ends = Ends()
    codec = EdgeCodec([DETECTIONS, PICTURE], 4096)
    picture = Image.from_array(np.zeros((6, 8, 3), np.uint8))
    data = bytearray(codec.encode(frame(boxes(2), picture), [ends.place, ends.place]))
    data[place % len(data)] = value
    try:
        entry = codec.decode(memoryview(bytes(data)), {5: ends.consumer})
    except (EntryError, PoolError):
        pass
    else:
        for got in entry.values:
            if isinstance(got, Image):
                assert sum(plane.nbytes for plane in got.planes) <= 4096
        entry.release()
    assert ends.consumer.holds() == 0
