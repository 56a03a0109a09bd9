from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from devices.spec import PIXEL_FORMATS
from flow.sources import open_reader, probe
from flow.sources.pixels import describe, native, nearest, planes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yuv420p10le", "yuv420p"), ("yuva420p", "yuv420p"), ("p010le", "yuv420p"), ("nv21", "yuv420p"), ("yuv410p", "yuv420p"),
        ("uyvy422", "yuv422p"), ("yuv411p", "yuv422p"), ("yuv422p10le", "yuv422p"), ("yuv440p", "yuv444p"), ("yuv444p12le", "yuv444p"),
        ("pal8", "bgra"), ("argb", "bgra"), ("gbrap", "bgra"), ("gbrp", "bgr24"), ("rgb565le", "bgr24"), ("rgb48le", "bgr24"),
        ("gray10le", "gray"), ("ya8", "gray"), ("monob", "gray"),
    ],
)  # fmt: skip
def test_nearest_keeps_most(name: str, expected: str) -> None:
    import av

    assert nearest(av.VideoFormat(name, 64, 64)) == expected


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv420p10le", "yuv422p12le", "yuv444p10le", "gray10le"])
def test_conversion_to_eight_bits_keeps_the_range(name: str, full: bool) -> None:
    import av
    from av.video.reformatter import VideoReformatter

    bits = int(name.removesuffix("le")[-2:])
    frame = av.VideoFrame(32, 16, name)
    frame.color_range = 2 if full else 1
    for plane in frame.planes:
        np.frombuffer(plane, np.uint16)[:] = 77 << (bits - 8)
    spec = describe(frame)
    assert spec.full_range == full
    assert spec.format in PIXEL_FORMATS
    for plane in planes(native(frame, VideoReformatter()), spec):
        assert np.abs(plane.astype(int) - 77).max() <= 1


@pytest.mark.parametrize("name", ["yuv420p", "nv12", "yuv422p", "yuv444p", "yuyv422", "gray", "bgr24", "rgb24", "bgra", "rgba"])
@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1)])
def test_planes_have_the_shapes_of_the_spec(name: str, size: tuple[int, int]) -> None:
    import av
    from av.video.reformatter import VideoReformatter

    if name == "yuyv422" and size[0] % 2:
        pytest.skip("FFmpeg has no odd widths here")
    frame = av.VideoFrame(*size, name)
    spec = describe(frame)
    assert native(frame, VideoReformatter()) is frame
    assert tuple(plane.shape for plane in planes(frame, spec)) == spec.planes


def test_full_range_is_seen(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.mkv", codec="mjpeg", pix="yuvj420p")
    assert probe(str(path)).spec.full_range
    assert probe(str(video(tmp_path / "b.mp4", full=True))).spec.full_range
    assert not probe(str(video(tmp_path / "c.mp4"))).spec.full_range


@pytest.mark.parametrize(("code", "matrix"), [(1, "bt709"), (5, "bt601"), (6, "bt601"), (9, "bt2020")])
def test_matrix_is_what_the_file_says(tmp_path: Path, video, code: int, matrix: str) -> None:
    assert probe(str(video(tmp_path / "a.mp4", colorspace=code))).spec.matrix == matrix


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), "bt601"), ((720, 576), "bt601"), ((1280, 64), "bt709"), ((64, 578), "bt709")])
def test_a_file_that_says_none_has_the_matrix_of_its_size(tmp_path: Path, video, size: tuple[int, int], matrix: str) -> None:
    assert probe(str(video(tmp_path / "a.mp4", size=size, frames=1))).spec.matrix == matrix


def test_a_format_that_does_not_flow_is_converted(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.mkv", codec="ffv1", pix="yuv420p10le")
    reader = open_reader(str(path))
    picture = reader.read()
    reader.close()
    assert picture is not None
    assert picture.spec.format == "yuv420p"
    assert abs(int(picture.planes[0][24, 30]) - 30) < 4  # grey 16 of index 0 in limited range
