from __future__ import annotations

import itertools
import threading
import time

import pytest

from flow.sources import SourceAwayError, SourceError, probe
from flow.sources import rtsp as rtsp_source
from flow.sources.stream import StreamReader


def test_plays_a_camera(camera, make_stream) -> None:
    server = camera(frames=40)
    seen = probe(server.uri)
    assert (seen.spec.width, seen.spec.height, seen.spec.format, seen.live, seen.frames) == (64, 48, "yuv420p", True, None)
    reader = StreamReader(make_stream(server.uri, live=True))
    frames = [reader.read() for _ in range(20)]
    reader.close()
    assert [frame.pts_ns for frame in frames] == [40_000_000 * index for index in range(20)]
    assert all(frame.time_ns and frame.planes[0].shape == (48, 64) for frame in frames)
    assert reader.read() is None


def test_user_and_password_come_from_the_secret_alone(camera) -> None:
    server = camera(frames=30, secret="admin:p@ss/w:rd")
    assert probe(server.uri, {}, "admin:p@ss/w:rd").spec.width == 64
    with pytest.raises(SourceError) as failure:
        probe(server.uri, {}, "admin:wr@ng")
    assert "401" in str(failure.value)
    assert "wr@ng" not in str(failure.value)
    assert "wr%40ng" not in str(failure.value)


def test_refuses_a_password_in_the_url() -> None:
    with pytest.raises(SourceError, match="secret") as failure:
        probe("rtsp://admin:hunter2@127.0.0.1/live")
    assert "hunter2" not in str(failure.value)


def test_nobody_answers(monkeypatch, camera) -> None:
    monkeypatch.setattr(rtsp_source, "TIMEOUT_S", 0.5)
    server = camera(frames=1, silent=True)
    with pytest.raises(SourceAwayError, match="answer in time"):
        probe(server.uri)


def test_away_is_taken_at_its_word() -> None:
    with pytest.raises(SourceAwayError, match="size"):
        probe("rtsp://127.0.0.1:9/live")
    seen = probe("rtsp://127.0.0.1:9/live", {"size": (640, 360), "fps": 15.0})
    assert (seen.spec.width, seen.spec.height, seen.fps, seen.live) == (640, 360, 15.0, True)


def test_comes_back_after_it_vanished(monkeypatch, camera, make_stream) -> None:
    monkeypatch.setattr("flow.sources.stream.BACKOFF_FIRST_S", 0.02)
    server = camera(frames=15)
    reader = StreamReader(make_stream(server.uri, live=True, reconnect=True))
    frames = [reader.read() for _ in range(35)]
    reader.close()
    assert [frame.seq for frame in frames] == list(range(35))
    assert all(b.pts_ns > a.pts_ns for a, b in itertools.pairwise(frames))
    assert reader.reconnects >= 2
    assert reader.last_error


def test_a_camera_that_falls_silent_is_left_and_opened_again(monkeypatch, camera, make_stream) -> None:
    monkeypatch.setattr("flow.sources.stream.BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(rtsp_source, "TIMEOUT_S", 0.5)
    reader = StreamReader(make_stream(camera(frames=15, hold=True).uri, live=True))
    frames = [reader.read() for _ in range(25)]
    reader.close()
    assert [frame.seq for frame in frames] == list(range(25))
    assert "answer in time" in str(reader.last_error)


def test_a_camera_that_is_lost_ends_the_stream_without_reconnect(camera, make_stream) -> None:
    server = camera(frames=10)
    reader = StreamReader(make_stream(server.uri, live=True, reconnect=False))
    count = 0
    try:
        while reader.read() is not None:
            count += 1
    except SourceAwayError:
        pass
    assert count > 0
    reader.close()


def test_stop_ends_a_waiting_read(camera, make_stream) -> None:
    server = camera(frames=1, silent=True)
    reader = StreamReader(make_stream(server.uri, live=True))
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(reader.read()))
    thread.start()
    time.sleep(0.2)
    reader.stop()
    thread.join(3)
    assert got == [None]
    reader.close()


def test_stop_ends_the_wait_between_two_tries(monkeypatch, make_stream) -> None:
    monkeypatch.setattr("flow.sources.stream.BACKOFF_FIRST_S", 1000.0)
    monkeypatch.setattr("flow.sources.stream.BACKOFF_MOST_S", 1000.0)
    reader = StreamReader(make_stream("rtsp://127.0.0.1:9/live", live=True))
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(reader.read()))
    thread.start()
    while reader.last_error is None:
        time.sleep(0.01)
    reader.stop()
    thread.join(3)
    assert got == [None]
