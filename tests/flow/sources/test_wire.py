from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from devices.spec import PIXEL_FORMATS, ImageSpec
from flow.sources.wire import END, MAX_HEADER, Header, WireError, pack, unpack


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    format=st.sampled_from(PIXEL_FORMATS),
    full=st.booleans(),
    rotation=st.sampled_from([0, 90, 180, 270]),
    pts=st.none() | st.integers(0, 2**62),
)
def test_what_is_packed_is_unpacked(width, height, format, full, rotation, pts) -> None:
    header = Header(ace=1, width=width, height=height, format=format, full_range=full, rotation=rotation, pts_ns=pts)
    spec = ImageSpec(width, height, format, full, "bt601", rotation)
    planes = [np.random.default_rng(0).integers(0, 256, shape, np.uint8) for shape in spec.planes]
    got = unpack(memoryview(pack(header, planes)))
    assert got is not None
    assert got[0] == header
    assert got[0].spec == spec
    assert all(np.array_equal(a, b) for a, b in zip(got[1], planes, strict=True))


def test_the_end_is_the_end() -> None:
    assert unpack(memoryview(END)) is None


GOOD = {"ace": 1, "width": 2, "height": 1, "format": "gray8"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({**GOOD, "ace": 2}, "ace"),
        ({**GOOD, "width": 0}, "width"),
        ({**GOOD, "width": 10**9}, "width"),
        ({**GOOD, "width": 2.0}, "width"),
        ({**GOOD, "format": "xyz"}, "format"),
        ({**GOOD, "rotation": 45}, "rotation"),
        ({**GOOD, "pts_ns": -1}, "pts_ns"),
        ({**GOOD, "colour": "red"}, "colour"),
        ({**GOOD, "height": 3}, "bytes"),
        ({"ace": 1, "width": 2, "height": 1}, "format"),
        ([], "JSON"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(line: object, says: str) -> None:
    with pytest.raises(WireError, match=says):
        unpack(memoryview(json.dumps(line).encode() + b"\n\0\0"))


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    assume(noise != END)
    with pytest.raises(WireError):
        unpack(memoryview(noise))


def test_a_header_is_bounded() -> None:
    with pytest.raises(WireError, match=str(MAX_HEADER)):
        unpack(memoryview(b" " * 10_000 + b"{}\n"))


def test_planes_that_do_not_fit_are_not_sent() -> None:
    with pytest.raises(WireError, match="expected uint8 planes"):
        pack(Header(ace=1, width=2, height=2, format="gray8"), [np.zeros((2, 3), np.uint8)])
    with pytest.raises(WireError, match="float32"):
        pack(Header(ace=1, width=2, height=2, format="gray8"), [np.zeros((2, 2), np.float32)])
