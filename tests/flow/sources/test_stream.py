from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from flow.sources import SourceError
from flow.sources.publisher import FramePublisher
from flow.sources.stream import StreamReader


def read_all(reader: StreamReader):
    frames = []
    while (frame := reader.read()) is not None:
        frames.append((frame.seq, frame.pts_ns, frame.planes[0].copy()))
    reader.close()
    return frames


def test_numbers_frames_and_starts_time_at_zero(tmp_path: Path, video, make_stream) -> None:
    path = video(tmp_path / "a.mkv", frames=6, pts=lambda index: 1536 + 40 * index)
    reader = StreamReader(make_stream(str(path)))
    frames = read_all(reader)
    assert [(seq, pts) for seq, pts, _ in frames] == [(index, index * 40_000_000) for index in range(6)]
    assert (reader.repaired, reader.corrupt, reader.reconnects) == (0, 0, 0)


def test_a_file_without_times_is_paced_by_its_rate(tmp_path: Path, video, make_stream) -> None:
    path = video(tmp_path / "a.h264", frames=6, format="h264")
    reader = StreamReader(make_stream(str(path), fps=10.0))
    assert [pts for _, pts, _ in read_all(reader)] == [index * 100_000_000 for index in range(6)]
    assert reader.repaired == 6


def test_frame_times_of_a_live_reading_are_those_of_reading(tmp_path: Path, video, make_stream) -> None:
    before = time.monotonic_ns()
    reader = StreamReader(make_stream(str(video(tmp_path / "a.mp4"))))
    frame = reader.read()
    assert frame is not None
    assert before < frame.mono_ns < time.monotonic_ns()
    assert frame.time_ns is None
    reader.close()


def test_a_recording_whose_clock_was_set_back_goes_on(tmp_path: Path, video, make_stream) -> None:
    part = video(tmp_path / "part.ts", frames=6, codec="mpeg4", format="mpegts").read_bytes()
    (tmp_path / "both.ts").write_bytes(part + part)
    reader = StreamReader(make_stream(str(tmp_path / "both.ts")))
    frames = read_all(reader)
    assert [pts for _, pts, _ in frames] == [index * 40_000_000 for index in range(12)]
    assert reader.repaired == 1


def test_a_loop_goes_on_counting(tmp_path: Path, video, make_stream) -> None:
    path = video(tmp_path / "a.mp4", frames=5)
    reader = StreamReader(make_stream(str(path), loop=True))
    frames = [reader.read() for _ in range(17)]
    reader.close()
    assert [frame.seq for frame in frames] == list(range(17))
    assert [frame.pts_ns for frame in frames] == [index * 40_000_000 for index in range(17)]
    assert reader.repaired == 3


@pytest.mark.parametrize("start", [0, 1, 4, 5, 9, 10, 23, 10_000])
def test_a_restart_gives_the_same_frames_again(tmp_path: Path, video, make_stream, start: int) -> None:
    path = video(tmp_path / "a.mkv", frames=5, pts=lambda index: [0, 40, 70, 130, 170][index])
    stream = make_stream(str(path), loop=True)
    whole = StreamReader(stream)
    expected = None
    if start < 100:
        for _ in range(start + 1):
            expected = whole.read()
        pts, pixels = expected.pts_ns, expected.planes[0].copy()
    else:  # the passes are alike: the sixth frame's step, 1999 times later
        frames = [whole.read().pts_ns for _ in range(6)]
        pts, pixels = frames[5] * (start // 5), None
    again = StreamReader(stream, start_seq=start)
    frame = again.read()
    assert (frame.seq, frame.pts_ns) == (start, pts)
    assert pixels is None or np.array_equal(frame.planes[0], pixels)
    whole.close()
    again.close()


def test_a_restart_after_the_end_has_nothing_to_give(tmp_path: Path, video, make_stream) -> None:
    stream = make_stream(str(video(tmp_path / "a.mp4", frames=5)))
    reader = StreamReader(stream, start_seq=5)
    assert reader.read() is None
    reader.close()


def test_stop_ends_reading(tmp_path: Path, video, make_stream) -> None:
    reader = StreamReader(make_stream(str(video(tmp_path / "a.mp4")), loop=True))
    assert reader.read() is not None
    reader.stop()
    assert reader.read() is None
    reader.close()


def test_a_file_that_vanishes_under_a_loop_is_an_error(tmp_path: Path, video, make_stream) -> None:
    path = video(tmp_path / "a.mp4", frames=2)
    reader = StreamReader(make_stream(str(path), loop=True))
    reader.read()
    path.unlink()
    with pytest.raises(SourceError, match="expected a file"):
        [reader.read() for _ in range(3)]
    reader.close()


def test_a_live_stream_goes_on_where_the_dead_worker_was(tmp_path: Path, make_stream) -> None:
    address = f"ipc://{tmp_path}/frames"
    reader = StreamReader(make_stream(f"zmq:{address}", live=True), start_seq=100, start_pts_ns=5_000_000_000)
    with _Sender(address):
        frames = [reader.read() for _ in range(3)]
    reader.close()
    assert [frame.seq for frame in frames] == [100, 101, 102]
    assert frames[0].pts_ns == 5_040_000_000


def test_a_sender_that_ends_and_returns(tmp_path: Path, make_stream, monkeypatch) -> None:
    monkeypatch.setattr("flow.sources.stream.BACKOFF_FIRST_S", 0.01)
    address = f"ipc://{tmp_path}/frames"
    reader = StreamReader(make_stream(f"zmq:{address}", live=True))
    with _Sender(address):
        frames = [reader.read() for _ in range(3)]
    frames.extend(_until_next_sender(reader, address))
    reader.close()
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert all(later.pts_ns > earlier.pts_ns for earlier, later in pairwise(frames))
    assert reader.reconnects == 1
    assert "ended" in str(reader.last_error)


def test_the_secret_that_a_stream_names_is_read(make_stream, monkeypatch) -> None:
    monkeypatch.delenv("FRONT_CAMERA", raising=False)
    with pytest.raises(SourceError, match="FRONT_CAMERA"):
        StreamReader(make_stream("rtsp://127.0.0.1:9/live", live=True, secret="FRONT_CAMERA"))
    monkeypatch.setenv("FRONT_CAMERA", "user:word")
    StreamReader(make_stream("rtsp://127.0.0.1:9/live", live=True, secret="FRONT_CAMERA")).close()


def test_streams_leave_no_descriptor_and_no_thread(tmp_path: Path, video, make_stream, descriptors) -> None:
    stream = make_stream(str(video(tmp_path / "a.mp4")))
    read_all(StreamReader(stream))
    files, threads = descriptors(), threading.active_count()
    for _ in range(3):
        read_all(StreamReader(stream))
    assert descriptors() <= files
    assert threading.active_count() == threads


class _Sender:
    """Publishes frames all the time, as a subscriber that comes late would meet them."""

    def __init__(self, address: str) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(address,))

    def _run(self, address: str) -> None:
        with FramePublisher(address, fps=25) as out:
            index = 0
            while not self._done.wait(0.005):
                out.send(np.zeros((48, 64, 3), np.uint8), pts_ns=index * 40_000_000)
                index += 1

    def __enter__(self) -> _Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _until_next_sender(reader: StreamReader, address: str):
    """Reads over the end of one sender to frames of the next, which starts when the reader has lost the first."""
    frames = []

    def read() -> None:
        while reader.reconnects == 0:
            frames.append(reader.read())

    thread = threading.Thread(target=read)
    thread.start()
    while reader.last_error is None:
        time.sleep(0.01)
    with _Sender(address):
        thread.join()
    return frames
