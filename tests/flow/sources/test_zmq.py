from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from devices.spec import ImageSpec
from flow.sources import SourceAwayError, SourceError, open_reader, probe
from flow.sources import zmq as zmq_source
from flow.sources.publisher import FramePublisher


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/frames"


@pytest.fixture
def raw(address: str) -> Iterator[zmq.Socket]:
    """A sender of anything."""
    socket = zmq.Context.instance().socket(zmq.XPUB)
    socket.bind(address)
    yield socket
    socket.close(0)


@contextmanager
def sending(out: FramePublisher, *planes: np.ndarray, **more: Any) -> Iterator[None]:
    """Sends all the time: a subscriber hears only what is sent after it has joined."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.01):
            out.send(*planes, **more)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_frames_come_as_they_were_sent(address: str) -> None:
    spec = ImageSpec(6, 4, "yuv420p", full_range=True, matrix="bt709", rotation=90)
    planes = [np.random.default_rng(3).integers(0, 256, shape, np.uint8) for shape in spec.planes]
    with FramePublisher(address, fps=12.5) as out:
        with sending(out, *planes, spec=spec, pts_ns=7, time_ns=1_700_000_000_000_000_000):
            seen = probe(f"zmq:{address}")
            reader = open_reader(f"zmq:{address}")
            picture = reader.read()
        assert (seen.spec, seen.fps, seen.live) == (spec, 12.5, True)
        assert (picture.spec, picture.pts_ns, picture.time_ns) == (spec, 7, 1_700_000_000_000_000_000)
        assert all(np.array_equal(a, b) for a, b in zip(picture.planes, planes, strict=True))
    while (picture := reader.read()) is not None:
        pass
    reader.close()


def test_plain_arrays_need_no_spec(address: str) -> None:
    shapes = {"bgr24": (4, 6, 3), "bgra": (4, 6, 4), "gray8": (4, 6)}
    for name, shape in shapes.items():
        with FramePublisher(address) as out, sending(out, np.zeros(shape, np.uint8)):
            assert probe(f"zmq:{address}").spec == ImageSpec(6, 4, name)


def test_nobody_sends(address: str) -> None:
    reader = zmq_source.ZmqReader(f"zmq:{address}", {}, silence=0.01)
    with pytest.raises(SourceAwayError, match="is the sender running"):
        reader.read()
    reader.close()


def test_messages_that_are_no_frames_are_counted_and_then_an_error(address: str, raw: zmq.Socket) -> None:
    reader = zmq_source.ZmqReader(f"zmq:{address}", {})
    raw.recv()  # the subscription
    good = b'{"ace":1,"width":2,"height":1,"format":"gray8"}\nab'
    for message in (b"noise", good[:-1], good):
        raw.send(message)
    raw.send_multipart([b"two", b"parts"])
    raw.send(good)
    assert reader.read().planes[0].tolist() == [[97, 98]]
    assert reader.corrupt == 2
    assert reader.read() is not None
    assert reader.corrupt == 3
    for _ in range(zmq_source.MAX_BROKEN):
        raw.send(b"noise")
    with pytest.raises(SourceError, match="no frames"):
        reader.read()
    reader.close()


def test_close_ends_a_waiting_read(address: str) -> None:
    reader = zmq_source.ZmqReader(f"zmq:{address}", {})
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(reader.read()))
    thread.start()
    time.sleep(0.1)
    reader.close()
    thread.join(5)
    assert got == [None]
    assert reader.read() is None


def test_descriptors_are_given_back(address: str, descriptors) -> None:
    before = descriptors()
    for _ in range(50):
        zmq_source.ZmqReader(f"zmq:{address}", {}).close()
    while descriptors() > before + 20:  # ZeroMQ closes in its own thread
        time.sleep(0.02)


@pytest.mark.parametrize("uri", ["zmq:", "zmq:tcp://host", "zmq:tcp://host:port", "zmq:inproc://x", "zmq:ipc://", "zmq:pgm://a:1"])
def test_an_address_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(SourceError, match="expected zmq:tcp://HOST:PORT"):
        probe(uri)
