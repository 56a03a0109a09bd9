from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from flow.sources import SourceAwayError, SourceError, open_reader, probe
from flow.sources import v4l2 as v4l2_source
from flow.sources.decoder import Decoder


def test_a_camera_that_is_not_plugged_in() -> None:
    with pytest.raises(SourceAwayError, match="cameras here"):
        probe("v4l2:/dev/video987")
    seen = probe("v4l2:/dev/video987", {"size": (640, 480), "fps": 30.0})
    assert (seen.spec.width, seen.spec.height, seen.fps, seen.live) == (640, 480, 30.0, True)


@pytest.mark.parametrize("device", ["/dev/null", "/etc/passwd", "/dev"])
def test_what_is_no_camera(device: str) -> None:
    with pytest.raises(SourceError, match="expected a camera device"):
        probe(f"v4l2:{device}")


@pytest.mark.parametrize("uri", ["v4l2:", "v4l2:video0", "v4l2:0"])
def test_a_device_is_an_absolute_path(uri: str) -> None:
    with pytest.raises(SourceError, match="expected v4l2:/dev/videoN"):
        probe(uri)


@pytest.mark.parametrize(("number", "kind", "says"), [(errno.EACCES, SourceError, "group video"), (errno.EBUSY, SourceAwayError, "free")])
def test_a_camera_that_we_may_not_use(monkeypatch, number: int, kind: type[SourceError], says: str) -> None:
    def refuse(path: object, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    camera = os.stat_result((stat.S_IFCHR | 0o660, 0, 0, 1, 0, 44, 0, 0, 0, 0), {"st_rdev": os.makedev(81, 0)})
    monkeypatch.setattr(Path, "stat", lambda path: camera)
    monkeypatch.setattr(v4l2_source.os, "open", refuse)
    with pytest.raises(kind, match=says):
        v4l2_source.check_device(Path("/dev/video0"), "v4l2:/dev/video0")


def test_pictures_of_the_size_and_rate_that_were_asked_for(monkeypatch) -> None:
    """FFmpeg's test picture in the place of a driver: no camera is needed, and none was tried."""

    def driver(location: str, *, av_options: dict[str, str], format: str, **rest: Any) -> Decoder:
        assert (location, format) == ("/dev/video0", "v4l2")
        picture = f"testsrc2=size={av_options['video_size']}:rate={av_options['framerate']},format=yuyv422"
        return Decoder(picture, av_options={}, format="lavfi", **rest)

    monkeypatch.setattr(v4l2_source, "check_device", lambda device, uri: None)
    monkeypatch.setattr(v4l2_source, "Decoder", driver)
    asked = {"size": (320, 240), "fps": 15.0}
    seen = probe("v4l2:/dev/video0", asked)
    assert (str(seen.spec), seen.fps, seen.live) == ("image 320x240 yuyv422", 15.0, True)
    reader = open_reader("v4l2:/dev/video0", asked, None)
    pictures = [picture for picture in (reader.read() for _ in range(3)) if picture is not None]
    reader.close()
    assert [picture.spec for picture in pictures] == [seen.spec] * 3
    assert [round(picture.pts_ns * 15 / 1e9) for picture in pictures] == [0, 1, 2]
    assert all(picture.time_ns is not None and picture.mono_ns is not None for picture in pictures)
