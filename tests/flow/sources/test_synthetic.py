from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from devices.spec import ImageSpec
from flow.scenes import SCENES, open_scene
from flow.sources.contract import SourceError
from flow.sources.synthetic import SyntheticSource, yuv420p

SMALL = "synthetic:home?size=96x54"


def test_probe_says_what_will_come() -> None:
    probe = SyntheticSource.probe("synthetic:home", {}, None)
    assert (probe.spec, probe.fps, probe.live, probe.frames) == (ImageSpec(640, 360, "yuv420p"), 30.0, True, None)
    probe = SyntheticSource.probe("synthetic:pen?size=320x240&fps=12.5&frames=7&rate=max", {}, None)
    assert (probe.spec, probe.fps, probe.live, probe.frames) == (ImageSpec(320, 240, "yuv420p"), 12.5, False, 7)


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_pictures_are_as_the_probe_says(scene: str) -> None:
    uri = f"synthetic:{scene}?seed=4&size=96x54&rate=max&frames=3"
    probe, reader = SyntheticSource.probe(uri, {}, None), SyntheticSource.open(uri, {}, None)
    pictures = []
    while (picture := reader.read()) is not None:
        assert picture.spec == probe.spec
        assert tuple(plane.shape for plane in picture.planes) == probe.spec.planes
        assert all(plane.dtype == np.uint8 for plane in picture.planes)
        pictures.append((picture.pts_ns, picture.time_ns))
    assert pictures == [(0, None), (33333333, None), (66666667, None)]
    assert reader.read() is None


def test_the_pictures_are_the_scene() -> None:
    reader = SyntheticSource.open("synthetic:pets?seed=4&rate=max&size=320x180", {}, None)
    scene = open_scene("pets", seed=4, width=320, height=180)
    for index in range(3):
        picture = reader.read()
        assert picture is not None
        flat = np.concatenate([plane.ravel() for plane in picture.planes]).reshape(270, 320)
        back = cv2.cvtColor(flat, cv2.COLOR_YUV2BGR_I420).astype(int)
        assert np.abs(back - scene.frame(index)).mean() < 4


@pytest.mark.parametrize("size", [(96, 54), (95, 54), (96, 53), (33, 35)])
def test_odd_sizes_round_chroma_up(size: tuple[int, int]) -> None:
    grey = np.full((size[1], size[0], 3), 128, np.uint8)
    planes = yuv420p(grey)
    assert tuple(plane.shape for plane in planes) == ImageSpec(*size, "yuv420p").planes
    assert [int(plane.min()) for plane in planes] == [int(plane.max()) for plane in planes] == [126, 128, 128]


def test_limited_range_of_bt601() -> None:
    for colour, expected in (((255, 255, 255), (235, 128, 128)), ((0, 0, 0), (16, 128, 128)), ((0, 0, 255), (81, 90, 240))):
        planes = yuv420p(np.full((4, 4, 3), colour, np.uint8))
        np.testing.assert_allclose([plane[0, 0] for plane in planes], expected, atol=1)


def test_a_camera_keeps_time_and_says_when() -> None:
    before, start = time.time_ns(), time.monotonic()
    reader = SyntheticSource.open(SMALL + "&fps=100&frames=6", {}, None)
    reader.read()
    times = [before]
    while (picture := reader.read()) is not None:
        assert picture.time_ns is not None
        times.append(picture.time_ns)
    assert len(times) == 6
    assert times == sorted(times)
    assert time.monotonic() - start > 0.045


def test_closing_ends_a_waiting_read() -> None:
    reader = SyntheticSource.open(SMALL + "&fps=0.01", {}, None)
    assert reader.read() is not None
    seen: list[object] = []
    waiting = threading.Thread(target=lambda: seen.append(reader.read()))
    waiting.start()
    reader.close()
    waiting.join(20)
    assert seen == [None]
    assert reader.read() is None


def test_the_stream_may_say_size_and_rate() -> None:
    probe = SyntheticSource.probe("synthetic:hand", {"size": (128, 96), "fps": 15.0}, None)
    assert (probe.spec.width, probe.spec.height, probe.fps) == (128, 96, 15.0)
    assert SyntheticSource.probe("synthetic:hand", {"size": None, "fps": None}, None).fps == 30


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("synthetic:hoem", "did you mean 'home'"),
        ("synthetic:", "expected a scene"),
        ("synthetic:zzz", "hand, home, pen, pets"),
        ("synthetic:home?sed=3", "did you mean 'seed'"),
        ("synthetic:home?seed=-1", "whole number of at least 0"),
        ("synthetic:home?seed=9999999999", "whole number"),
        ("synthetic:home?seed=", "whole number"),
        ("synthetic:home?seed=1&seed=2", "once"),
        ("synthetic:home?frames=0", "at least 1"),
        ("synthetic:home?size=640", "WIDTHxHEIGHT"),
        ("synthetic:home?size=8x8", "32 to 4096"),
        ("synthetic:home?size=99999x9", "32 to 4096"),
        ("synthetic:home?fps=0", "fps"),
        ("synthetic:home?fps=nan", "fps"),
        ("synthetic:home?rate=liv", "did you mean 'live'"),
        ("synthetic:home?rate", "name=value"),
        ("synthetic:home?" + "&".join(f"a{i}=1" for i in range(40)), "name=value"),
        ("synthetic:home?size=64x64", "one place"),
    ],
)
def test_a_wrong_address_says_what_was_expected(uri: str, says: str) -> None:
    options = {"size": (96, 54)} if says == "one place" else {}
    for call in (SyntheticSource.probe, SyntheticSource.open):
        with pytest.raises(SourceError, match=says):
            call(uri, options, None)


def test_a_secret_is_refused_without_repeating_it() -> None:
    with pytest.raises(SourceError, match="no secret") as refused:
        SyntheticSource.probe("synthetic:home", {}, "user:hunter2")
    assert "hunter2" not in str(refused.value)
