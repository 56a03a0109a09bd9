from __future__ import annotations

import contextlib
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.spec import ImageSpec
from flow.sinks.contract import SinkError
from flow.sinks.video import Video
from ops.value import Image


def write(path: Path, plan_of, result, pictures: list[Image], fps: float = 25.0) -> None:
    sink = Video(plan_of(path, ImageSpec(64, 48, "bgr24")), fps)
    sink.open(resume=False)
    for seq, picture in enumerate(pictures):
        sink.write(result(seq), picture)
    sink.close()


def frames(path: Path) -> list[Any]:
    import av

    with av.open(path) as container:
        return list(container.decode(video=0))


def plain(colour: tuple[int, int, int], width: int = 64, height: int = 48) -> Image:
    return Image.from_array(np.full((height, width, 3), colour, np.uint8))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_frame_a_result_in_its_colours(tmp_path: Path, plan_of, result, suffix: str, capfd) -> None:
    colours = [(200, 60, 30), (20, 180, 90), (128, 128, 128), (250, 250, 250)] * 5
    write(tmp_path / f"out{suffix}", plan_of, result, [plain(colour) for colour in colours])
    got = frames(tmp_path / f"out{suffix}")
    assert len(got) == len(colours)
    # FFmpeg's AVI reader takes H.264 to be reordered and begins one frame later.
    assert [round((frame.time - got[0].time) * 1000) for frame in got] == [index * 40 for index in range(20)]
    for frame, colour in zip(got, colours, strict=True):
        assert np.abs(frame.to_ndarray(format="bgr24")[24, 32].astype(int) - colour).max() <= 12
    assert capfd.readouterr().err == ""


def test_gaps_in_time_are_kept(tmp_path: Path, plan_of, result) -> None:
    sink = Video(plan_of(tmp_path / "out.mp4"), 25.0)
    sink.open(resume=False)
    for seq in (0, 1, 10, 11):
        sink.write(result(seq), plain((9, 9, 9)))
    sink.write(result(11), plain((9, 9, 9)))  # the same time again
    sink.close()
    times = [frame.time for frame in frames(tmp_path / "out.mp4")]
    assert [round(time, 2) for time in times] == [0.0, 0.04, 0.4, 0.44, 0.44]
    assert times == sorted(set(times))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_what_was_written_before_a_kill_can_be_played(tmp_path: Path, plan_of, result, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    sink = Video(plan_of(path), 25.0)
    sink.open(resume=False)
    for seq in range(80):
        sink.write(result(seq), plain((seq, 255 - seq, 99)))
    shutil.copy(path, tmp_path / f"killed{suffix}")
    sink.close()
    assert 80 >= len(frames(tmp_path / f"killed{suffix}")) >= 50  # at most the last second is missing


def test_odd_and_other_sizes_are_fitted_into_the_first(tmp_path: Path, plan_of, result) -> None:
    white, size = (255, 255, 255), (96, 64)
    write(tmp_path / "out.mp4", plan_of, result, [plain(white, 97, 65), plain(white, 20, 60), plain(white, 400, 20), plain(white, 1, 1)])
    got = [frame.to_ndarray(format="bgr24") for frame in frames(tmp_path / "out.mp4")]
    assert {(pixels.shape[1], pixels.shape[0]) for pixels in got} == {size}
    assert got[0].min() > 240
    assert got[1][32, 48].min() > 240
    assert got[1][32, 4].max() < 20
    assert got[2][4, 48].max() < 20
    assert got[3][32, 48].min() > 240


@pytest.mark.parametrize("format", ["yuv420p", "nv12", "yuyv422", "gray8", "rgb24", "bgra"])
def test_other_formats_are_converted(tmp_path: Path, plan_of, result, format: str) -> None:
    spec = ImageSpec(64, 48, format, full_range=True)
    image = Image(spec, spec.split(np.full(spec.nbytes, 128, np.uint8)))
    write(tmp_path / "out.mp4", plan_of, result, [image])
    (frame,) = frames(tmp_path / "out.mp4")
    assert np.abs(frame.to_ndarray(format="bgr24").astype(int) - 128).max() <= 4


def test_a_turned_picture_is_shown_upright(tmp_path: Path, plan_of, result) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:20, :20] = 255
    image = Image(ImageSpec(64, 48, "bgr24", rotation=90), (pixels,))
    write(tmp_path / "out.mp4", plan_of, result, [image])
    (frame,) = frames(tmp_path / "out.mp4")
    shown = frame.to_ndarray(format="gray")
    assert shown.shape == (64, 48)
    assert shown[4, 43] > 200
    assert shown[4, 4] < 50


def test_after_a_crash_the_old_part_is_kept(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.mp4"
    write(path, plan_of, result, [plain((9, 9, 9))] * 3)
    for _ in range(2):
        sink = Video(plan_of(path), 25.0)
        assert sink.open(resume=True) == {}
        sink.write(result(3), plain((9, 9, 9)))
        sink.close()
    assert [len(frames(tmp_path / name)) for name in ("out.mp4", "out.2.mp4", "out.3.mp4")] == [3, 1, 1]


def test_without_a_picture_there_is_no_file(tmp_path: Path, plan_of) -> None:
    sink = Video(plan_of(tmp_path / "out.mp4"), 25.0)
    sink.open(resume=False)
    sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error(tmp_path: Path, plan_of, result) -> None:
    import resource

    sink = Video(plan_of(tmp_path / "out.mp4"), 5.0)
    sink.open(resume=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    noise = np.random.default_rng(0)
    try:
        with pytest.raises(SinkError, match="expected to write a picture"):  # noqa: PT012 (which picture is the disk's to say)
            for seq in range(50):
                sink.write(result(seq), Image.from_array(noise.integers(0, 256, (48, 64, 3), np.uint8)))
        with contextlib.suppress(SinkError):
            sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    sink.close()


def test_a_folder_that_is_not_there_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="mkdir"):
        Video.check(str(tmp_path / "none" / "out.mp4"))
